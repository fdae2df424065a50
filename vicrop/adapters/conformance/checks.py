"""What the method relies on: a check for each, in the order of the report.

A check returns a note on what it found, or raises ``Broken`` or ``NotPossible``.
"""

from collections.abc import Callable
from contextlib import suppress

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vicrop.adapters.conformance.case import (
    CORNERS,
    Broken,
    Case,
    NotPossible,
    apart,
    checked_size,
    compare_states,
    expect,
    hooks,
    like_plain,
    same_tokens,
    state,
    stock_inputs,
    stock_tokens,
    tokens_of,
)
from vicrop.attribution import attention_to_image, log_likelihood

Check = Callable[[Case], str]
CHECKS: dict[str, Check] = {}


def relied_on(name: str) -> Callable[[Check], Check]:
    """Decorator: put a check into ``CHECKS``."""

    def keep(check: Check) -> Check:
        CHECKS[name] = check
        return check

    return keep


# What the image is to the language model.


@relied_on("image tokens")
def image_tokens(case: Case) -> str:
    """As many placeholders as an image has tokens, in one run, filled with it."""
    vlm, seen, words = case.vlm, case.seen, case.prompt.words
    places = (words.ids[0] == vlm.image_token_id).nonzero().flatten().tolist()
    count, span = vlm.token_count(seen), case.prompt.prefix.span
    expect(len(places) == count, f"{len(places)} placeholders, but token_count {count}")
    run = list(range(places[0], places[0] + count))
    expect(places == run, "other tokens stand between the image's")
    expect(
        list(range(span.start, span.stop)) == run, f"span {span}, but they are {run}"
    )
    ((tokens, _),) = vlm.connect([seen], [words])
    expect(tokens.shape[:2] == (1, count), f"image tokens of shape {[*tokens.shape]}")
    filled = vlm.embed(words.ids, [tokens])[:, span]
    expect(torch.equal(filled, tokens.to(filled)), "embed puts them elsewhere")
    return f"{count} tokens, {span.start} to {span.stop - 1} of {words.ids.shape[1]}"


@relied_on("grid")
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


@relied_on("cells in place")
def cells_in_place(case: Case) -> str:
    """A bright square changes the features of its own corner most."""
    plain = cells_of(case, case.image)
    for corner, (x, y) in CORNERS.items():
        moved = (cells_of(case, case.marked(corner)) - plain).norm(dim=-1)
        change = (moved / plain.norm(dim=-1)).cpu().numpy()
        halves = np.array_split(change, 2, axis=0)
        quarters = [np.array_split(half, 2, axis=1) for half in halves]
        means = np.array([[quarter.mean() for quarter in row] for row in quarters])
        most = np.unravel_index(means.argmax(), means.shape)
        expect(most == (y, x), f"a square {corner} changes another corner more")
    return f"checked {', '.join(CORNERS)}"


@relied_on("visible part")
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
        cut.paste((255, 255, 255), (0, 0, int(x), int(y)))
    pixels = vlm.look_at([cut]).pixels
    expect(torch.equal(pixels, case.seen.pixels), "it sees the rest too")
    return f"{left:g} to {right:g} × {top:g} to {bottom:g} pixels ({vlm.facts.fit})"


# What the model looks at.


@relied_on("row sums")
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


@relied_on("map moves")
def map_moves(case: Case) -> str:
    """A bright square moved to another corner changes the map."""
    prompts = [case.asked(case.marked(corner)) for corner in CORNERS]
    maps = [attention_to_image(case.vlm, [prompt])[0] for prompt in prompts]
    expect(bool(np.isfinite(maps).all()), "the map is not finite")
    first, *others = map(torch.from_numpy, maps)
    change = min(apart(first, other) for other in others)
    expect(change > 1e-6, "the same map wherever a bright square is")
    return f"by {change:.2g} of its range at least"


@relied_on("attention gradient")
def attention_gradient(case: Case) -> str:
    """The answer's gradient to the attention is finite and not all zero."""
    scores, attentions = case.vlm.trace(case.prompt)
    gradients = torch.autograd.grad(log_likelihood(scores), attentions)
    sizes = [checked_size(gradient) for gradient in gradients]
    expect(bool((attentions[0].sum(-1) - 1).abs().max() < 1e-3), "not a row of one")
    return f"largest {', '.join(f'{size:.2g}' for size in sizes)}"


@relied_on("pixel gradient")
def pixel_gradient(case: Case) -> str:
    """The answer's gradient to the pixels is finite and not all zero."""
    scores, pixels = case.vlm.trace_pixels(case.asked(case.image))
    (gradient,) = torch.autograd.grad(log_likelihood(scores), pixels)
    picture = case.vlm.facts.picture(gradient, case.seen.grid)
    expect(picture.ndim == 4, f"picture() of shape {[*picture.shape]}")
    return f"largest {checked_size(picture):.2g}"


# What the model answers.


@relied_on("placeholder refused")
def placeholder_refused(case: Case) -> str:
    """A question that holds the image placeholder is a ValueError."""
    token = case.vlm.tokenizer.decode([case.vlm.image_token_id])
    with suppress(ValueError):
        case.vlm.words(f"what is {token}?", [case.seen])
        raise Broken(f"a question with {token} is taken for one about more images")
    return f"{token} is refused"


@relied_on("shared prefix")
def shared_prefix(case: Case) -> str:
    """The answer from the kept image tokens is that of the whole prompt at once."""
    return like_plain(case, case.prompt)


@relied_on("two images")
def two_images(case: Case) -> str:
    """A crop beside the image keeps the image's tokens, and is read."""
    crops = [case.marked(corner) for corner in CORNERS]
    first, second = (case.with_crop(crop) for crop in crops[:2])
    ids, kept = first.words.ids, case.prompt.prefix.ids
    shown = int((ids == case.vlm.image_token_id).sum())
    wanted = sum(case.vlm.token_count(image) for image in first.seen)
    expect(shown == wanted, f"{shown} placeholders for two images, not {wanted}")
    begins = torch.equal(ids[:, : kept.shape[1]], kept)
    expect(begins, "the prompt does not begin with the image's tokens")
    change = apart(*(one.scores for one in case.vlm.run([first, second])))
    expect(change > 1e-6, "another crop makes no difference")
    return like_plain(case, first)


@relied_on("stock answer")
def stock_answer(case: Case) -> str:
    """The tokens are those of the stock model's own ``generate``."""
    vlm, inputs = case.vlm, case.inputs
    prompt = case.prompt if inputs is None else vlm.read(inputs)
    given = stock_inputs(case) if inputs is None else dict(inputs)
    try:
        found = stock_tokens(vlm, given)
    except Exception as error:  # each family's generate asks for inputs of its own
        if inputs is not None:
            raise
        reason = f"{type(error).__name__}: {str(error).splitlines()[:1]}"
        raise NotPossible(
            f"the stock model wants other inputs ({reason}); pass the processor's as "
            "inputs="
        ) from error
    ours = tokens_of(vlm, prompt)
    same_tokens(case, prompt, ours, found)
    return f"{len(ours)} tokens"


@relied_on("batch")
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


@relied_on("dtype and device")
def dtype_and_device(case: Case) -> str:
    """Everything is where the model is, and as exact."""
    vlm, prompt = case.vlm, case.prompt
    tensors = {
        "pixels": case.seen.pixels,
        "features": case.seen.features,
        "image tokens": vlm.connect([case.seen], [prompt.words])[0][0],
        "suffix": prompt.suffix,
        "scores": vlm.run([prompt])[0].scores,
    }
    for name, tensor in tensors.items():
        expect(tensor.dtype == vlm.dtype, f"{name} are {tensor.dtype}")
        expect(tensor.device == vlm.device, f"{name} are on {tensor.device}")
    expect(prompt.words.ids.device.type == "cpu", "ids are not on the CPU")
    return f"{str(vlm.dtype).removeprefix('torch.')} on {vlm.device}"


@relied_on("nothing left behind")
def nothing_left_behind(case: Case) -> str:
    """Hooks, configs and flags are as they were, after an error inside too."""
    vlm, unfit, raised = case.vlm, case.torn(), 0
    hooked = hooks(vlm)
    vlm.look_at([case.image])
    vlm.attend([case.prompt], [vlm.layer])
    vlm.trace(case.prompt)
    compare_states(case.before, state(vlm), "after a look")
    for verb in (lambda: vlm.attend([unfit], [0]), lambda: vlm.trace(unfit)):
        try:
            verb()
        except Exception:  # which one is the model's business
            raised += 1
        compare_states(case.before, state(vlm), "after an error inside")
    compare_states(hooked, hooks(vlm), "after a look")
    expect(raised > 0, "no error could be provoked inside, so nothing was tried")
    return f"{len(hooked)} modules, {raised} errors provoked"


def cells_of(case: Case, picture: Image.Image) -> Tensor:
    """(rows, cols, hidden) features; class tokens, which come first, left out."""
    seen = case.vlm.look_at([picture])
    rows, cols = seen.grid
    return seen.features[0, -rows * cols :].reshape(rows, cols, -1).float()
