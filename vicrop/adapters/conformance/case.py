"""What the checks of a family's facts look at, and how they measure and compare."""

import inspect
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import DynamicCache, GenerationConfig

from vicrop.adapters.adapter import Adapter
from vicrop.prompts import Prompt, Seen

TOLERANCE = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""Relative to the range of what is compared; the paths round differently."""
CORNERS = {"top left": (0, 0), "top right": (1, 0), "bottom left": (0, 1)}
ANSWER_TOKENS = 5


class Broken(Exception):
    """Something that the method relies on does not hold."""


class NotPossible(Exception):
    """Something that cannot be looked at with this model."""


def expect(holds: bool, otherwise: str) -> None:
    """Fail the check, saying why, unless it holds."""
    if not holds:
        raise Broken(otherwise)


@dataclass
class Case:
    """What the checks look at; each part is made once, when it is first needed.

    Attributes:
        vlm: a model of the family.
        image: upright RGB.
        question: the question.
        inputs: what the stock processor returns for them, if the caller gave it.
        before: what a look must leave as it was, as it was at the start.
    """

    vlm: Adapter
    image: Image.Image
    question: str
    inputs: Any = None
    before: dict[str, tuple] = field(init=False)

    def __post_init__(self):
        self.before = state(self.vlm)

    @cached_property
    def seen(self) -> Seen:
        """The image, looked at."""
        return self.vlm.look_at([self.image])

    @cached_property
    def prompt(self) -> Prompt:
        """The question about the image."""
        return self.vlm.prompt(self.question, [self.seen])

    def asked(self, *pictures: Image.Image) -> Prompt:
        """The question about other pictures of one size."""
        return self.vlm.prompt(self.question, [self.vlm.look_at(pictures)])

    def with_crop(self, crop: Image.Image) -> Prompt:
        """The question about the image and a crop, from the image's kept prefix."""
        seen = [self.seen, self.vlm.look_at([crop])]
        return self.vlm.prompt(self.question, seen, self.prompt.prefix)

    def torn(self) -> Prompt:
        """A prompt whose tensors do not fit the model, to fail inside it."""
        seen = replace(self.seen, features=self.seen.features[..., :-1])
        return replace(self.prompt, seen=[seen], suffix=self.prompt.suffix[..., :-1])

    def marked(self, corner: str) -> Image.Image:
        """The image with a bright square in a corner of what the model sees."""
        left, top, right, bottom = self.vlm.visible(self.image.size)
        x, y = CORNERS[corner]
        width, height = (right - left) / 4, (bottom - top) / 4
        start = (round(left + 3 * width * x), round(top + 3 * height * y))
        end = (start[0] + max(round(width), 1), start[1] + max(round(height), 1))
        picture = self.image.copy()
        picture.paste((255, 255, 255), (*start, *end))
        return picture

    @property
    def tolerance(self) -> float:
        """Of what is compared, relative to its range."""
        return TOLERANCE[self.vlm.dtype]


def default_image(size: tuple[int, int] = (448, 320)) -> Image.Image:
    """Seeded blocks of colour, wider than high, so that no cell is like another."""
    colours = np.random.default_rng(0).integers(30, 200, (10, 14, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC)


# Whether the model is as before.


def state(vlm: Adapter) -> dict[str, tuple]:
    """What a look must leave as it was, for each module."""
    return {
        name: (
            id(getattr(module, "config", None)),
            getattr(getattr(module, "config", None), "_attn_implementation", None),
            module.training,
            tuple(p.requires_grad for p in module.parameters(recurse=False)),
            any(p.grad is not None for p in module.parameters(recurse=False)),
        )
        for name, module in vlm.model.named_modules()
    }


def hooks(vlm: Adapter) -> dict[str, tuple]:
    """How many hooks each module has.

    To be compared from the second look on: at the first, transformers 5 leaves some of
    its own on vision towers.
    """
    return {
        name: (
            len(module._forward_hooks) + len(module._forward_pre_hooks),
            len(module._backward_hooks) + len(module._backward_pre_hooks),
        )
        for name, module in vlm.model.named_modules()
    }


def compare_states(
    before: dict[str, tuple], after: dict[str, tuple], when: str
) -> None:
    """Fail, naming the modules that are not as before."""
    changed = [name or "the model" for name in before if before[name] != after[name]]
    expect(not changed, f"{when}, {', '.join(changed[:3])} is not as before")


# How far numbers are apart.


def apart(one: Tensor, other: Tensor) -> float:
    """Largest difference, relative to the range of the second."""
    one, other = one.float(), other.float()
    span = float(other.max() - other.min()) or 1.0
    return float((one - other).abs().max()) / span


def behind(scores: Tensor, tokens: set[int]) -> float:
    """How far the best of some tokens lies below the best of all, of the range."""
    best = scores[sorted(tokens)].max()
    return float((scores.max() - best) / (scores.max() - scores.min()))


def checked_size(gradient: Tensor) -> float:
    """A gradient's largest value; it must be finite and not zero."""
    expect(bool(gradient.isfinite().all()), "a gradient is not finite")
    largest = float(gradient.abs().max())
    expect(largest > 0, "a gradient is zero everywhere")
    return largest


# The plain way: the whole prompt at once, and the stock model.


@torch.no_grad()
def plain_scores(vlm: Adapter, prompt: Prompt, answer: list[int]) -> Tensor:
    """(answer + 1, vocabulary): prompt and answer in one pass, nothing kept."""
    ids, shown = prompt.words.ids, prompt.seen
    said = torch.tensor([answer], dtype=torch.long)
    read = vlm.connect(shown, [prompt.words] * len(shown))
    # Apart: a model may say the placeholder, which then is a word like others.
    embeddings = [vlm.embed(ids, [tokens for tokens, _ in read]), vlm.embed(said)]
    whole = torch.cat([ids, ids[:, -1:].expand_as(said)], 1)
    positions = vlm.facts.positions(whole, [image.grid for image in shown])
    positions = None if positions is None else positions.to(vlm.device)
    cache = DynamicCache(config=vlm.text_model.config)
    hidden = vlm.hidden(torch.cat(embeddings, 1), cache, positions)
    return vlm.logits(hidden[0, -len(answer) - 1 :]).float()


def tokens_of(vlm: Adapter, prompt: Prompt) -> list[int]:
    """Our greedy answer."""
    return vlm.decode(vlm.run([prompt]), ANSWER_TOKENS)[0]


def like_plain(case: Case, prompt: Prompt) -> str:
    """Whether scores and greedy tokens are those of the whole prompt at once."""
    vlm = case.vlm
    answer = tokens_of(vlm, prompt)
    plain = plain_scores(vlm, prompt, answer)
    worst = apart(vlm.run([prompt])[0].scores[0], plain[0])
    expect(worst < case.tolerance, f"scores differ by {worst:.2g} of their range")
    # A token that ties with the best may be chosen by either way.
    for step, token in enumerate(answer):
        lost = behind(plain[step], {token})
        expect(lost < case.tolerance, f"answer token {step + 1} is not the likeliest")
    if len(answer) < ANSWER_TOKENS:
        ended = behind(plain[len(answer)], vlm.end_ids) < case.tolerance
        expect(ended, "the answer ends early")
    return f"scores within {worst:.1g} of their range, {len(answer)} tokens"


def stock_inputs(case: Case) -> dict[str, Tensor]:
    """What ``model.generate`` takes, from the facts' own tokens and pixels."""
    vlm, words = case.vlm, case.prompt.words
    made = vlm.processor.image_processor(images=[case.image], return_tensors="pt")
    pixels = made["pixel_values"].to(case.seen.pixels)
    same = pixels.shape == case.seen.pixels.shape and pixels.equal(case.seen.pixels)
    known = {
        **(made if same else {}),
        "pixel_values": case.seen.pixels,
        "input_ids": words.ids,
        "attention_mask": torch.ones_like(words.ids),
        "mm_token_type_ids": (words.ids == vlm.image_token_id).int(),
    }
    if words.asked is not None:
        known["qformer_input_ids"] = words.asked
        known["qformer_attention_mask"] = torch.ones_like(words.asked)
    takes = inspect.signature(vlm.model.forward).parameters
    return {key: value.to(vlm.device) for key, value in known.items() if key in takes}


def stock_tokens(vlm: Adapter, inputs: dict[str, Tensor]) -> list[int]:
    """Greedy answer tokens of the stock model."""
    ends = sorted(vlm.end_ids)
    plain = GenerationConfig(
        max_new_tokens=ANSWER_TOKENS,
        eos_token_id=ends,
        pad_token_id=ends[0],
        repetition_penalty=1.0,  # Qwen2.5-VL's own settings have another
    )
    made = vlm.model.generate(**inputs, generation_config=plain)[0].tolist()
    asked = inputs["input_ids"][0].tolist()
    made = made[len(asked) :] if made[: len(asked)] == asked else made
    cut = next((n for n, token in enumerate(made) if token in ends), len(made))
    return made[:cut]


def same_tokens(case: Case, prompt: Prompt, ours: list[int], stock: list[int]) -> None:
    """Equal tokens, or where they part, two that score alike."""
    if ours == stock:
        return
    end = min(case.vlm.end_ids)
    step = next(n for n in range(len(ours) + 1) if ours[n : n + 1] != stock[n : n + 1])
    plain = plain_scores(case.vlm, prompt, ours[:step])[-1]
    pair = {(ours[step : step + 1] or [end])[0], (stock[step : step + 1] or [end])[0]}
    lost = max(behind(plain, {token}) for token in pair)
    expect(lost < case.tolerance, f"ours {ours}, the stock model's {stock}")
