"""Every check can fail: facts, or the model behind them, wrong in one way each."""

import re

import pytest
import torch
from PIL import Image
from transformers import Qwen2_5_VLProcessor

from embedded import idefics3, instructblip, llava, qwen
from vicrop import adapters
from vicrop.adapters import conformance
from vicrop.adapters.adapter import Adapter
from vicrop.adapters.conformance import CHECKS, Report, Row, check
from vicrop.adapters.facts import INSTRUCTION, Facts, tokenize
from vicrop.adapters.idefics3 import WHOLE, Idefics3
from vicrop.adapters.instructblip import InstructBlip
from vicrop.adapters.llava import prompt_text
from vicrop.adapters.registry import FAMILIES
from vicrop.prompts import Words


def randomised(model):
    """Weights large enough that answers depend on the image."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.15) if weight.ndim > 1 else weight
    return model.eval().requires_grad_(False)


def random_llava():
    return adapters.wrap(randomised(llava.model()), llava.processor(), "llava", layer=2)


def random_instructblip():
    config = instructblip.config()
    model = randomised(InstructBlip.architecture(config))
    model.generation_config.eos_token_id = config.text_config.eos_token_id
    return adapters.wrap(model, instructblip.processor(), "instructblip", layer=1)


def random_qwen(**options):
    with pytest.MonkeyPatch.context() as patch:
        # Its video processor, which nobody here uses, wants torchvision.
        patch.setattr(
            Qwen2_5_VLProcessor, "check_argument_for_proper_class", lambda *_: None
        )
        processor = qwen.processor()
    model = randomised(qwen.model())
    return adapters.wrap(model, processor, "qwen2.5-vl", layer=2, **options)


def random_idefics3():
    return adapters.wrap(idefics3.model(), idefics3.processor(), "idefics3", layer=2)


SHIPPED = {
    "llava": random_llava,
    "instructblip": random_instructblip,
    "qwen2.5-vl": random_qwen,
    "idefics3": random_idefics3,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("family", SHIPPED)
def test_shipped_family_passes_every_check(family, dtype):
    vlm = SHIPPED[family]()
    vlm.model.to(dtype)
    report = check(vlm)
    report.raise_if_failed()
    assert {row.state for row in report.rows} == {"passed"}
    assert [row.name for row in report.rows] == list(CHECKS)


def test_every_family_is_among_the_shipped():
    assert set(SHIPPED) == set(FAMILIES)


def test_trained_model_passes_on_a_scene(picture):
    check(adapters.load("tiny-llava"), picture, "is there a plate?").raise_if_failed()


# Facts that are wrong in one way each.


class OtherTokensBetween(Idefics3):
    def words(self, question, counts):
        ids = super().words(question, counts).ids
        return Words(torch.cat([ids[:, :10], ids[:, :1], ids[:, 10:]], 1))


class GridOfAnotherShape(Idefics3):
    grid = (4, 16)


class GridTooSmall(Idefics3):
    grid = (8, 7)


class PatchOfTheTower(Idefics3):
    patch_px = idefics3.PATCH_PX
    grid = (8, 8)


class RowsForColumns(Idefics3):
    def see(self, pixels, grids):
        features = torch.stack(list(super().see(pixels, grids)))
        return features.unflatten(1, grids[0]).transpose(1, 2).flatten(1, 2)


class WrongFit(Idefics3):
    fit = "centre-crop"


class Blind(Idefics3):
    def see(self, pixels, grids):
        return super().see(pixels * 0 + 1, grids)


class TowerWithoutGradients(Idefics3):
    @torch.no_grad()
    def see(self, pixels, grids):
        return super().see(pixels, grids)


class PictureWithoutChannels(Idefics3):
    def picture(self, pixels, grid):
        return super().picture(pixels, grid)[:, 0]


class HookLeftBehind(Idefics3):
    def pixels(self, pictures):
        self.model.lm_head.register_forward_hook(lambda *_: None)
        return super().pixels(pictures)


class CropFirst(Idefics3):
    """Two images after the question, one before it."""

    def words(self, question, counts):
        if len(counts) == 1:
            return super().words(question, counts)
        image = self.processor.replace_image_token(WHOLE, 0)
        text = f"{question} {INSTRUCTION}{image * 2}"
        return Words(tokenize(self.processor.tokenizer, text, question))


class CropWithoutPlace(Idefics3):
    def words(self, question, counts):
        return super().words(question, counts[:1])


class CropUnread(Idefics3):
    """Every look but the first gives the same, whatever the picture."""

    def see(self, pixels, grids):
        self.first = getattr(self, "first", pixels)
        return super().see(self.first.expand_as(pixels), grids)


class FirstForAll(Idefics3):
    def see(self, pixels, grids):
        features = torch.stack(list(super().see(pixels, grids)))
        return features[:1].expand_as(features)


# A model that is not what the decoder takes it for.


class SpanOffByOne(Adapter):
    def begin(self, words, seen, depth=None):
        made = super().begin(words, seen, depth)
        made.span = slice(made.span.start - 1, made.span.stop - 1)
        return made


class TooFewTokensSaid(Adapter):
    def token_count(self, seen):
        return super().token_count(seen) - 1


class TokensInAnotherOrder(Adapter):
    def embed(self, ids, tokens=()):
        return super().embed(ids, [one.roll(1, 1) for one in tokens])


class HalfTheAttention(Adapter):
    def attend(self, prompts, layers):
        return [rows / 2 for rows in super().attend(prompts, layers)]


class LastTokenForgotten(Adapter):
    def attend(self, prompts, layers):
        return [rows[..., :-1] for rows in super().attend(prompts, layers)]


class NegativeAttention(Adapter):
    def attend(self, prompts, layers):
        (rows,) = super().attend(prompts, layers)
        return [
            torch.cat([rows[..., :-1] * 2, 1 - 2 * rows[..., :-1].sum(-1, True)], -1)
        ]


class OneLayerForAll(Adapter):
    def attend(self, prompts, layers):
        return super().attend(prompts, layers[:1])


class GradientCutOff(Adapter):
    def trace(self, prompt):
        scores, attentions = super().trace(prompt)
        return scores.detach(), attentions


class GradientNotFinite(Adapter):
    def trace(self, prompt):
        scores, attentions = super().trace(prompt)
        return scores * torch.inf, attentions


class GradientOfNothing(Adapter):
    def trace(self, prompt):
        scores, attentions = super().trace(prompt)
        return scores * 0, attentions


class ConfigLeftBehindByErrors(Adapter):
    def attend(self, prompts, layers):
        config, self.head.config = getattr(self.head, "config", None), object()
        made = super().attend(prompts, layers)
        self.head.config = config
        return made


class TrainingLeftOn(Adapter):
    def trace(self, prompt):
        self.model.train()
        return super().trace(prompt)


class GradientsLeftOn(Adapter):
    def trace(self, prompt):
        self.head.requires_grad_()
        return super().trace(prompt)


class PlaceholderTaken(Adapter):
    def words(self, question, seen):
        text = prompt_text(question, self.token_count(seen[0]) * len(seen))
        return Words(self.tokenizer(text, return_tensors="pt")["input_ids"])


class EverythingSeesEverything(Adapter):
    def hidden(self, embeddings, cache, positions=None, mask=None):
        length = embeddings.shape[1] + cache.get_seq_length()
        mask = torch.ones(len(embeddings), 1, embeddings.shape[1], length).bool()
        return self.text_model(
            inputs_embeds=embeddings, cache=cache, attention_mask=mask, use_cache=True
        ).last_hidden_state


class PositionsFromZero(Adapter):
    def hidden(self, embeddings, cache, positions=None, mask=None):
        positions = torch.arange(embeddings.shape[1])[None]
        return super().hidden(embeddings, cache, positions)


class LikeliestButOne(Adapter):
    def decode(self, firsts, max_new_tokens=20):
        said = super().decode(firsts, max_new_tokens)
        return [[(token + 1) % 30 for token in tokens] for tokens in said]


class EndsAtOnce(Adapter):
    def decode(self, firsts, max_new_tokens=20):
        return [[] for _ in firsts]


class AnotherHead(Adapter):
    def logits(self, hidden):
        return -super().logits(hidden)


BROKEN = [
    (SpanOffByOne, "image tokens", r"span slice\(4, 68"),
    (TooFewTokensSaid, "image tokens", "64 placeholders, but token_count 63"),
    (TokensInAnotherOrder, "image tokens", "embed puts them elsewhere"),
    (OtherTokensBetween, "image tokens", "other tokens stand between the image"),
    (GridOfAnotherShape, "grid", r"128×128, but 4×16 cells of patch_px 16 are 64×256"),
    (GridTooSmall, "grid", "56 places .* but the model makes 64"),
    (TooFewTokensSaid, "grid", "63 places .* but the model makes 64"),
    (PatchOfTheTower, "grid", "8×8 cells of patch_px 8 are 64×64"),
    (RowsForColumns, "cells in place", "top right changes another corner more"),
    (WrongFit, "visible part", "it sees the rest too"),
    (HalfTheAttention, "row sums", "off one by up to 0.5"),
    (LastTokenForgotten, "row sums", "rows of 89 keys, prompt of 90"),
    (NegativeAttention, "row sums", "negative attention"),
    (OneLayerForAll, "row sums", "1 rows for 4 layers"),
    (Blind, "map moves", "the same map wherever a bright square is"),
    (GradientCutOff, "attention gradient", "does not require grad"),
    (GradientNotFinite, "attention gradient", "a gradient is not finite"),
    (GradientOfNothing, "attention gradient", "a gradient is zero everywhere"),
    (
        TowerWithoutGradients,
        "pixel gradient",
        "RuntimeError: .*not .*require grad|used",
    ),
    (Blind, "pixel gradient", "a gradient is zero everywhere"),
    (PictureWithoutChannels, "pixel gradient", r"picture\(\) of shape \[1, 128, 128\]"),
    (HookLeftBehind, "nothing left behind", "after a look, lm_head is not as before"),
    (TrainingLeftOn, "nothing left behind", "after a look, the model, model, model"),
    (GradientsLeftOn, "nothing left behind", "after a look, lm_head is not as before"),
    (ConfigLeftBehindByErrors, "nothing left behind", "after an error inside, lm_head"),
    (PlaceholderTaken, "placeholder is text", "with <image> is taken for one"),
    (EverythingSeesEverything, "shared prefix", "scores differ by"),
    (PositionsFromZero, "shared prefix", "scores differ by"),
    (LikeliestButOne, "shared prefix", "answer token 1 is not the likeliest"),
    (EndsAtOnce, "shared prefix", "the answer ends early"),
    (CropFirst, "two images", "does not begin with the kept image tokens"),
    (CropWithoutPlace, "two images", "0 places .* but the model makes 64"),
    (CropUnread, "two images", "another crop makes no difference"),
    (AnotherHead, "stock answer", r"ours \[.*the stock model's"),
    (FirstForAll, "batch", "attention or scores differ by"),
]


def broken(kind: type[Facts] | type[Adapter]) -> Adapter:
    facts, adapter = (Idefics3, kind) if issubclass(kind, Adapter) else (kind, Adapter)
    return adapter(facts(idefics3.model(), idefics3.processor()), layer=2)


@pytest.mark.parametrize(
    ("kind", "name", "note"), BROKEN, ids=[f"{k.__name__}-{n}" for k, n, _ in BROKEN]
)
def test_what_is_wrong_fails_its_check(kind, name, note, monkeypatch):
    monkeypatch.setattr(conformance, "CHECKS", {name: CHECKS[name]})
    row = check(broken(kind))[name]
    assert row.state == "failed", row
    assert re.search(note, row.note), row.note


def test_every_check_can_fail():
    assert {name for _, name, _ in BROKEN} == set(CHECKS)


def test_other_checks_still_run():
    report = check(broken(AnotherHead))
    assert [row.name for row in report.failed] == ["stock answer"]
    assert len(report.rows) == len(CHECKS)


def test_stock_answer_wants_inputs_that_cannot_be_guessed():
    """Pixels bounded otherwise than the processor's: its grid would not be theirs."""
    vlm = random_qwen(min_pixels=40**2, max_pixels=48**2)
    row = check(vlm)["stock answer"]
    assert row.state == "not possible" and "wants other inputs" in row.note


# What a family says.


def test_a_family_knows_few_members_of_its_base():
    known = {name for name in dir(Facts) if not name.startswith("_")}
    assert len(known | set(Facts.__annotations__)) <= 15


# The report.


@pytest.fixture(scope="module")
def report():
    return check(broken(WrongFit))


def test_report_raises_with_every_failure_listed(report):
    wanted = "WrongFit breaks the method's rules: .*visible part: it sees the rest too"
    with pytest.raises(ValueError, match=wanted):
        report.raise_if_failed()


def test_report_reads_as_a_table(report):
    lines = str(report).splitlines()
    assert lines[0].startswith("WrongFit: ") and lines[0].endswith("checks passed")
    assert len(lines) == 1 + len(CHECKS)
    assert any(re.match(r"visible part +failed +it sees", line) for line in lines)


def test_html_of_a_report_is_escaped():
    row = Row("placeholder is text", "failed", "<image> & <b>")
    html = Report("A<B>", (row,))._repr_html_()
    assert "&lt;image&gt; &amp; &lt;b&gt;" in html and "A&lt;B&gt;" in html
    assert "<image>" not in html and "<b>" not in html


def test_adapter_without_a_processor_is_told_so():
    bare = adapters.wrap(idefics3.model(), family="idefics3", layer=2)
    with pytest.raises(RuntimeError, match="wrapped without a processor"):
        check(bare)


@pytest.mark.parametrize("size", [(64, 64), (96, 300), (500, 120)])
def test_checks_take_images_of_any_shape(size):
    check(random_llava(), Image.new("RGB", size, "teal")).raise_if_failed()
