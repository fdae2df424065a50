"""Whether a family's facts are true: ``check(vlm)``, a row for each thing relied on.

A new check is one function, ``relied_on``: it returns a note on what it found, or
raises ``Found`` otherwise. Loading a model never imports this.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from itertools import takewhile, zip_longest
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from tabulate import tabulate
from torch import Tensor, nn
from transformers import DynamicCache, GenerationConfig

from vicrop import images
from vicrop.adapters.adapter import Adapter
from vicrop.attribution.paper import attention_to_image
from vicrop.prompts import Prompt, Seen, log_likelihood

QUESTION = "What is in the image?"
TOLERANCE = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""Relative to the range of what is compared; the paths round differently."""
CORNERS = {"top left": (0, 0), "top right": (1, 0), "bottom left": (0, 1)}
ANSWER_TOKENS = 5


class Row(NamedTuple):
    """What one check found.

    Attributes:
        name: of the check.
        state: ``passed``, ``failed`` or ``not possible``.
        note: what was found, or why not.
    """

    name: str
    state: str
    note: str


@dataclass(frozen=True)
class Report:
    """What all checks found; shows as a table, in notebooks too.

    Attributes:
        facts: name of their class.
        rows: one a check.
    """

    facts: str
    rows: tuple[Row, ...]

    def __getitem__(self, name: str) -> Row:
        """A check's row."""
        return {row.name: row for row in self.rows}[name]

    @property
    def failed(self) -> list[Row]:
        """Rows of what does not hold."""
        return [row for row in self.rows if row.state == "failed"]

    def raise_if_failed(self) -> None:
        """Make failures loud, as in a test.

        Raises:
            ValueError: naming every check that failed, and why.
        """
        if self.failed:
            reasons = "; ".join(f"{row.name}: {row.note}" for row in self.failed)
            raise ValueError(f"{self.facts} breaks the method's rules: {reasons}")

    def __str__(self) -> str:
        states = [row.state for row in self.rows]
        possible = len(states) - states.count("not possible")
        said = f"{self.facts}: {states.count('passed')} of {possible} checks passed"
        return f"{said}\n{tabulate(self.rows, tablefmt='plain')}"

    def _repr_html_(self) -> str:
        told, names = str(self).split("\n")[0], ("check", "result", "what was found")
        made = tabulate(self.rows, names, tablefmt="html")  # which escapes
        return f'<div class="mathjax_ignore"><p>{escape(told)}</p>{made}</div>'


class Found(Exception):
    """Why a check did not pass: its ``Row``'s state and note."""


def expect(holds: bool, otherwise: str) -> None:
    """Fail the check, saying why, unless it holds."""
    if not holds:
        raise Found("failed", otherwise)


@dataclass
class Case:
    """What the checks look at; each part is made once, when it is first needed.

    Attributes:
        vlm: a model of the family.
        image: upright RGB.
        question: the question.
    """

    vlm: Adapter
    image: Image.Image
    question: str

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

    def marked(self, corner: str) -> Image.Image:
        """The image with a square of ``ink`` in a corner of what the model sees."""
        left, top, right, bottom = self.vlm.visible(self.image.size)
        x, y = CORNERS[corner]
        width, height = (right - left) / 4, (bottom - top) / 4
        start = (round(left + 3 * width * x), round(top + 3 * height * y))
        end = (start[0] + max(round(width), 1), start[1] + max(round(height), 1))
        picture = self.image.copy()
        picture.paste(self.ink, (*start, *end))
        return picture

    @property
    def ink(self) -> str:
        """What stands out from the image: white, or black where that is bright."""
        return "white" if np.asarray(self.image).mean() < 200 else "black"

    def cells(self, picture: Image.Image) -> Tensor:
        """(rows, cols, hidden) features; class tokens, which come first, left out."""
        seen = self.vlm.look_at([picture])
        rows, cols = seen.grid
        return seen.features[0, -rows * cols :].reshape(rows, cols, -1).float()

    @property
    def tolerance(self) -> float:
        """Of what is compared, relative to its range."""
        return TOLERANCE[self.vlm.dtype]

    def expect_best(self, scores: Tensor, among: Iterable[int], otherwise: str) -> None:
        """Fail unless one of some tokens ties with the best of all, to rounding."""
        behind = scores.max() - scores[sorted(among)].max()
        lost = float(behind / (scores.max() - scores.min()))
        expect(lost < self.tolerance, otherwise)


def default_image() -> Image.Image:
    """Seeded blocks of colour, wider than high, so that no cell is like another."""
    colours = np.random.default_rng(0).integers(30, 200, (10, 14, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((448, 320), Image.Resampling.BICUBIC)


# How far numbers are apart.


def apart(one: Tensor, other: Tensor) -> float:
    """Largest difference, relative to the range of the second."""
    one, other = one.float(), other.float()
    span = float(other.max() - other.min()) or 1.0
    return float((one - other).abs().max()) / span


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
    for step, token in enumerate(answer, 1):
        otherwise = f"answer token {step} is not the likeliest"
        case.expect_best(plain[step - 1], [token], otherwise)
    if len(answer) < ANSWER_TOKENS:
        case.expect_best(plain[len(answer)], vlm.end_ids, "the answer ends early")
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
    return list(takewhile(lambda token: token not in ends, made))


def same_tokens(case: Case, prompt: Prompt, ours: list[int], stock: list[int]) -> None:
    """Equal tokens, or where they part, two that score alike."""
    both = list(zip_longest(ours, stock, fillvalue=min(case.vlm.end_ids)))
    step = next((n for n, (one, other) in enumerate(both) if one != other), None)
    if step is not None:
        plain = plain_scores(case.vlm, prompt, ours[:step])[-1]
        for token in both[step]:
            case.expect_best(plain, [token], f"ours {ours}, the stock model's {stock}")


# The checks.

Check = Callable[[Case], str]
CHECKS: dict[str, Check] = {}


def relied_on(check: Check) -> Check:
    """Decorator: put a check into ``CHECKS``, by its name."""
    CHECKS[check.__name__.replace("_", " ")] = check
    return check


# What the model is left as.


def state(module: nn.Module) -> tuple:
    """What a look must leave as it was: config, flags, gradients, hooks."""
    config, own = getattr(module, "config", None), [*module.parameters(recurse=False)]
    return (
        (id(config), getattr(config, "_attn_implementation", None), module.training),
        [(weight.requires_grad, weight.grad is None) for weight in own],
        len(module._forward_hooks) + len(module._forward_pre_hooks),
        len(module._backward_hooks) + len(module._backward_pre_hooks),
    )


@relied_on
def nothing_left_behind(case: Case) -> str:
    """Hooks, configs and flags are as they were, after an error inside too."""
    # The first look is over: at it, transformers 5 leaves hooks on vision towers.
    vlm, prompt, raised = case.vlm, case.prompt, 0
    before = {name: state(module) for name, module in vlm.model.named_modules()}

    def same(when: str) -> None:
        changed = [n for n, m in vlm.model.named_modules() if state(m) != before[n]]
        names = ", ".join(name or "the model" for name in changed[:3])
        expect(not changed, f"{when}, {names} is not as before")

    vlm.look_at([case.image])
    vlm.attend([prompt], [vlm.layer])
    vlm.trace(prompt)
    same("after a look")
    seen = replace(case.seen, features=case.seen.features[..., :-1])
    unfit = replace(prompt, seen=[seen], suffix=prompt.suffix[..., :-1])
    for verb in (lambda: vlm.attend([unfit], [0]), lambda: vlm.trace(unfit)):
        try:
            verb()
        except Exception:  # which one is the model's business
            raised += 1
        same("after an error inside")
    expect(raised > 0, "no error could be provoked inside, so nothing was tried")
    return f"{len(before)} modules, {raised} errors provoked"


# What the image is to the language model.


@relied_on
def image_tokens(case: Case) -> str:
    """As many placeholders as an image has tokens, in one run, filled with it."""
    vlm, seen, words = case.vlm, case.seen, case.prompt.words
    places = (words.ids[0] == vlm.image_token_id).nonzero().flatten().tolist()
    count, span = vlm.token_count(seen), case.prompt.prefix.span
    expect(len(places) == count, f"{len(places)} placeholders, but token_count {count}")
    run = list(range(places[0], places[0] + count))
    expect(places == run, "other tokens stand between the image's")
    expect([*range(span.start, span.stop)] == run, f"span {span}, but they are {run}")
    ((tokens, _),) = vlm.connect([seen], [words])
    expect(tokens.shape[:2] == (1, count), f"image tokens of shape {[*tokens.shape]}")
    filled = vlm.embed(words.ids, [tokens])[:, span]
    expect(torch.equal(filled, tokens.to(filled)), "embed puts them elsewhere")
    return f"{count} tokens, {span.start} to {span.stop - 1} of {words.ids.shape[1]}"


@relied_on
def grid(case: Case) -> str:
    """A cell for each token (or patch of a connector), and square in the picture."""
    vlm, seen, prefix = case.vlm, case.seen, case.prompt.prefix
    rows, cols = seen.grid
    vlm.run([case.prompt])
    step = prefix.connector
    cells = vlm.token_count(seen) if step is None else step.shape[-1]
    fits = cells == rows * cols if step is None else cells >= rows * cols
    expect(fits, f"{rows}×{cols} cells, but {cells} tokens or patches")
    patch_px = vlm.facts.patch_px
    height, width = vlm.facts.picture(seen.pixels, seen.grid).shape[-2:]
    wanted = (rows * patch_px, cols * patch_px)
    expect(
        (height, width) == wanted,
        f"picture() is {height}×{width}, but {rows}×{cols} cells of patch_px "
        f"{patch_px} are {wanted[0]}×{wanted[1]}",
    )
    return f"{rows}×{cols} cells of {patch_px} pixels"


@relied_on
def cells_in_place(case: Case) -> str:
    """A square that stands out changes the features of its own corner most."""
    plain = case.cells(case.image)
    for corner, (x, y) in CORNERS.items():
        moved = (case.cells(case.marked(corner)) - plain).norm(dim=-1)
        halves = (moved / plain.norm(dim=-1)).tensor_split(2)
        quarters = [each for half in halves for each in half.tensor_split(2, 1)]
        most = divmod(int(torch.stack([each.mean() for each in quarters]).argmax()), 2)
        expect(most == (y, x), f"a square {corner} changes another corner more")
    return f"checked {', '.join(CORNERS)}"


@relied_on
def visible_part(case: Case) -> str:
    """What ``fit`` says is cut off does not reach the pixels; the corners do."""
    vlm, (width, height) = case.vlm, case.image.size
    left, top, right, bottom = vlm.visible(case.image.size)
    for corner in CORNERS:
        pixels = vlm.look_at([case.marked(corner)]).pixels
        expect(not torch.equal(pixels, case.seen.pixels), f"{corner} is not seen")
    if (left, top, right, bottom) == (0, 0, width, height):
        return f"all of it ({vlm.facts.fit})"
    cut = case.image.copy()
    # Resampling looks a little beyond the edge: half of the margin is left alone.
    for x, y in ((left / 2, height), (width, top / 2)):
        cut.paste(case.ink, (0, 0, int(x), int(y)))
    pixels = vlm.look_at([cut]).pixels
    expect(torch.equal(pixels, case.seen.pixels), "it sees the rest too")
    return f"{left:g} to {right:g} × {top:g} to {bottom:g} pixels ({vlm.facts.fit})"


# What the model looks at.


@relied_on
def row_sums(case: Case) -> str:
    """Every layer's attention row covers the whole prompt and sums to one."""
    layers = list(range(len(case.vlm.attention)))
    (rows,), step = case.vlm.attend([case.prompt], layers), case.prompt.prefix.connector
    keys = case.prompt.words.ids.shape[1]
    expect(rows.shape[-1] == keys, f"rows of {rows.shape[-1]} keys, prompt of {keys}")
    expect(len(rows) == len(layers), f"{len(rows)} rows for {len(layers)} layers")
    for weights in [rows] if step is None else [rows, step]:
        expect(bool((weights >= 0).all()), "negative attention")
        worst = float((weights.sum(-1) - 1).abs().max())
        expect(worst < 1e-3, f"off one by up to {worst:.2g}")
    return f"{len(layers)} layers, {rows.shape[2]} heads, {keys} keys"


@relied_on
def map_moves(case: Case) -> str:
    """A square that stands out, moved to another corner changes the map."""
    prompts = [case.asked(case.marked(corner)) for corner in CORNERS]
    maps = [attention_to_image(case.vlm, [prompt])[0] for prompt in prompts]
    expect(bool(np.isfinite(maps).all()), "the map is not finite")
    first, *others = map(torch.from_numpy, maps)
    change = min(apart(first, other) for other in others)
    expect(change > 1e-6, "the same map wherever a bright square is")
    return f"by {change:.2g} of its range at least"


@relied_on
def attention_gradient(case: Case) -> str:
    """The answer's gradient to the attention is finite and not all zero."""
    scores, attentions = case.vlm.trace(case.prompt)
    gradients = torch.autograd.grad(log_likelihood(scores), attentions)
    sizes = [checked_size(gradient) for gradient in gradients]
    expect(bool((attentions[0].sum(-1) - 1).abs().max() < 1e-3), "not a row of one")
    return f"largest {', '.join(f'{size:.2g}' for size in sizes)}"


@relied_on
def pixel_gradient(case: Case) -> str:
    """The answer's gradient to the pixels is finite and not all zero."""
    scores, pixels = case.vlm.trace_pixels(case.asked(case.image))
    (gradient,) = torch.autograd.grad(log_likelihood(scores), pixels)
    picture = case.vlm.facts.picture(gradient, case.seen.grid)
    expect(picture.ndim == 4, f"picture() of shape {[*picture.shape]}")
    return f"largest {checked_size(picture):.2g}"


# What the model answers.


@relied_on
def placeholder_is_text(case: Case) -> str:
    """A question that spells the image placeholder stands for no image more."""
    token = case.vlm.tokenizer.decode([case.vlm.image_token_id])
    ids = case.vlm.words(f"what is {token}?", [case.seen]).ids
    shown = int((ids == case.vlm.image_token_id).sum())
    note = f"a question with {token} is taken for one about more images"
    expect(shown == case.vlm.token_count(case.seen), note)
    return f"{token} is text"


@relied_on
def shared_prefix(case: Case) -> str:
    """The answer from the kept image tokens is that of the whole prompt at once."""
    return like_plain(case, case.prompt)


@relied_on
def two_images(case: Case) -> str:
    """A crop beside the image keeps the image's tokens, and is read."""
    vlm, prefix = case.vlm, case.prompt.prefix
    # Of other colours, not only in other places: an untrained Q-Former, whose queries
    # are all alike, takes the mean of all patches.
    other = Image.new("RGB", case.image.size, case.ink)
    crops = [vlm.look_at([one]) for one in (case.marked("top left"), other)]
    both = [[case.seen, crop] for crop in crops]
    first, second = (vlm.prompt(case.question, seen, prefix) for seen in both)
    ids, kept = first.words.ids, prefix.ids
    shown = int((ids == vlm.image_token_id).sum())
    wanted = sum(map(vlm.token_count, first.seen))
    expect(shown == wanted, f"{shown} placeholders for two images, not {wanted}")
    begins = torch.equal(ids[:, : kept.shape[1]], kept)
    expect(begins, "the prompt does not begin with the image's tokens")
    change = apart(*(one.scores for one in vlm.run([first, second])))
    expect(change > 1e-6, "another crop makes no difference")
    return like_plain(case, first)


@relied_on
def stock_answer(case: Case) -> str:
    """The tokens are those of the stock model's own ``generate``."""
    vlm, prompt = case.vlm, case.prompt
    try:
        found = stock_tokens(vlm, stock_inputs(case))
    except Exception as error:  # each family's generate asks for inputs of its own
        note = f"the stock model wants other inputs ({told(error)})"
        raise Found("not possible", note) from error
    ours = tokens_of(vlm, prompt)
    same_tokens(case, prompt, ours, found)
    return f"{len(ours)} tokens"


@relied_on
def batch(case: Case) -> str:
    """Two pictures looked at together give what each gives alone."""
    vlm = case.vlm
    pictures = [case.marked(corner) for corner in ("top right", "bottom left")]
    (both,) = vlm.run([case.asked(*pictures)])
    alone = [vlm.run([case.asked(one)])[0] for one in pictures]
    rows = torch.cat([one.row for one in alone])
    scores = torch.cat([one.scores for one in alone])
    expect(both.row.shape == rows.shape, f"attention of shape {[*both.row.shape]}")
    worst = max(apart(both.row, rows), apart(both.scores, scores))
    expect(worst < case.tolerance, f"attention or scores differ by {worst:.2g}")
    return f"attention and scores within {worst:.1g} of their range"


# All of them.


def check(
    vlm: Adapter,
    image: images.ImageLike | None = None,
    question: str = QUESTION,
) -> Report:
    """Look whether a family's facts are what the method relies on.

    Nothing is raised for what does not hold: call ``raise_if_failed`` on the report
    for that.

    Args:
        vlm: a model of the family, with its processor.
        image: to look at; None for a drawn one.
        question: to ask.

    Raises:
        RuntimeError: if the model was wrapped without a processor.
    """
    vlm.processor  # noqa: B018 (raises where there is none)
    picture = default_image() if image is None else images.load(image)
    case = Case(vlm, picture, question)
    return Report(type(vlm.facts).__name__, tuple(_rows(case)))


def _rows(case: Case) -> Iterator[Row]:
    for name, run in CHECKS.items():
        try:
            yield Row(name, "passed", run(case))
        except Found as found:
            yield Row(name, *found.args)
        except Exception as error:  # whatever foreign facts raise is a finding
            yield Row(name, "failed", told(error))


def told(error: Exception) -> str:
    """An error in one line."""
    said = (str(error).strip() or "no message").splitlines()[0]
    return f"{type(error).__name__}: {said}"
