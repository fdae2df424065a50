"""How the checks of an adapter measure and compare."""

import inspect
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import DynamicCache, GenerationConfig

from vicrop.adapters.adapter import Adapter
from vicrop.adapters.conformance.case import Case, expect
from vicrop.prompts import Prompt

ANSWER_TOKENS = 5


def apart(one: Tensor, other: Tensor) -> float:
    """Largest difference, relative to the range of the second."""
    one, other = one.float(), other.float()
    span = float(other.max() - other.min()) or 1.0
    return float((one - other).abs().max()) / span


def relative_change(one: Tensor, other: Tensor) -> np.ndarray:
    """(rows, cols) of how far cells' features moved, against how large they were."""
    moved = (one - other).float().norm(dim=-1) / other.float().norm(dim=-1)
    return moved.cpu().numpy()


def cells_of(case: Case, picture: Image.Image) -> Tensor:
    """(rows, cols, hidden) features; class tokens, which come first, left out."""
    seen = case.vlm.look_at([picture])
    rows, cols = seen.grid
    return seen.features[0, -rows * cols :].reshape(rows, cols, -1)


def attention_to(case: Case, picture: Image.Image) -> Tensor:
    """The last row of the map's layer over the image, mean over heads."""
    prompt = case.vlm.prompt(case.question, [case.vlm.look_at([picture])])
    first, *connector = case.vlm.attend(prompt, [case.vlm.layer])
    values = first[0].mean(1)[:, prompt.prefix.span]
    for step in connector:
        values = (values[:, None] @ step.mean(1))[:, 0]
    return values


def likelihood(scores: Tensor) -> Tensor:
    """Log-probability of the likeliest first answer token, as grad-att takes it."""
    return scores.float().log_softmax(-1).amax(-1).sum()


def checked_size(gradient: Tensor) -> float:
    """A gradient's largest value; it must be finite and not zero."""
    expect(bool(gradient.isfinite().all()), "a gradient is not finite")
    largest = float(gradient.abs().max())
    expect(largest > 0, "a gradient is zero everywhere")
    return largest


def compare_states(
    before: dict[str, tuple], after: dict[str, tuple], when: str
) -> None:
    """Fail, naming the modules that are not as before."""
    changed = [name or "the model" for name in before if before[name] != after[name]]
    expect(not changed, f"{when}, {', '.join(changed[:3])} is not as before")


def torn(case: Case) -> Prompt:
    """A prompt whose tensors do not fit the model, to fail inside it."""
    seen = replace(case.seen, features=case.seen.features[..., :-1])
    suffix = case.prompt.suffix[..., :-1]
    return replace(case.prompt, seen=[seen], suffix=suffix)


def with_crop(case: Case, crop: Image.Image) -> Prompt:
    """The question about the image and a crop, from the image's kept prefix."""
    seen = [case.seen, case.vlm.look_at([crop])]
    return case.vlm.prompt(case.question, seen, case.prompt.prefix)


@torch.no_grad()
def first_scores(case: Case, prompt: Prompt) -> Tensor:
    """(images, vocabulary) of the first answer token."""
    hidden, _ = case.vlm.run(prompt)
    return case.vlm.logits(hidden[:, -1])


@torch.no_grad()
def plain_scores(vlm: Adapter, prompt: Prompt, answer: list[int]) -> Tensor:
    """(answer + 1, vocabulary): prompt and answer in one pass, nothing kept."""
    ids, shown = prompt.words.ids, prompt.seen
    said = torch.tensor([answer], dtype=torch.long)
    tokens = [vlm.image_tokens(image, prompt.words) for image in shown]
    # Apart: a model may say the placeholder, which then is a word like others.
    embeddings = torch.cat([vlm.embed(ids, tokens), vlm.embed(said)], 1)
    positions = vlm.positions(torch.cat([ids, ids[:, -1:].expand_as(said)], 1), shown)
    cache = DynamicCache(config=vlm.text_model.config)
    hidden = vlm.hidden(embeddings, cache, positions)
    return vlm.logits(hidden[0, -len(answer) - 1 :]).float()


def like_plain(case: Case, prompt: Prompt) -> str:
    """Whether scores and greedy tokens are those of the whole prompt at once."""
    vlm = case.vlm
    answer = vlm.generate(prompt, ANSWER_TOKENS)
    plain = plain_scores(vlm, prompt, answer)
    worst = apart(first_scores(case, prompt)[0], plain[0])
    expect(worst < case.tolerance, f"scores differ by {worst:.2g} of their range")
    # A token that ties with the best may be chosen by either way.
    for step, token in enumerate(answer):
        lost = behind(plain[step], {token})
        expect(lost < case.tolerance, f"answer token {step + 1} is not the likeliest")
    if len(answer) < ANSWER_TOKENS:
        ended = behind(plain[len(answer)], vlm.end_ids) < case.tolerance
        expect(ended, "the answer ends early")
    return f"scores within {worst:.1g} of their range, {len(answer)} tokens"


def behind(scores: Tensor, tokens: set[int]) -> float:
    """How far the best of some tokens lies below the best of all, of the range."""
    best = scores[sorted(tokens)].max()
    return float((scores.max() - best) / (scores.max() - scores.min()))


def stock_inputs(case: Case) -> dict[str, Tensor]:
    """What ``model.generate`` takes, from the adapter's own tokens and pixels."""
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
