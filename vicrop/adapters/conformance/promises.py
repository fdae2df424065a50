"""What the method relies on: a check for each, in the order of the report.

A check returns a note on what it found, or raises ``Broken`` or ``NotPossible``.
"""

from contextlib import suppress

import numpy as np
import torch

from vicrop.adapters.conformance.case import (
    CORNERS,
    Broken,
    Case,
    NotPossible,
    expect,
    hooks,
    promise,
    state,
)
from vicrop.adapters.conformance.compare import (
    ANSWER_TOKENS,
    apart,
    attention_to,
    cells_of,
    checked_size,
    compare_states,
    first_scores,
    like_plain,
    likelihood,
    relative_change,
    same_tokens,
    stock_inputs,
    stock_tokens,
    torn,
    with_crop,
)

# What the image is to the language model.


@promise("image tokens")
def image_tokens(case: Case) -> str:
    """As many placeholders as the adapter says, in one run, filled with the image."""
    vlm, seen, words = case.vlm, case.seen, case.prompt.words
    places = (words.ids[0] == vlm.image_token_id).nonzero().flatten().tolist()
    count, span = vlm.token_count(seen), case.prompt.prefix.span
    expect(len(places) == count, f"{len(places)} placeholders, but token_count {count}")
    run = list(range(places[0], places[0] + count))
    expect(places == run, "other tokens stand between the image's")
    expect(
        list(range(span.start, span.stop)) == run, f"span {span}, but they are {run}"
    )
    tokens = vlm.image_tokens(seen, words)
    expect(tokens.shape[:2] == (1, count), f"image_tokens of shape {[*tokens.shape]}")
    filled = vlm.embed(words.ids, [tokens])[:, span]
    expect(torch.equal(filled, tokens.to(filled)), "embed puts them elsewhere")
    return f"{count} tokens, {span.start} to {span.stop - 1} of {words.ids.shape[1]}"


@promise("grid")
def grid(case: Case) -> str:
    """A cell for each token (or patch of a connector), and square in the picture."""
    vlm, seen, prefix = case.vlm, case.seen, case.prompt.prefix
    rows, cols = seen.grid
    vlm.start(case.prompt)
    step = prefix.connector
    cells = vlm.token_count(seen) if step is None else step.shape[-1]
    fits = cells == rows * cols if step is None else cells >= rows * cols
    expect(fits, f"{rows}×{cols} cells, but {cells} tokens or patches")
    height, width = vlm.picture(seen.pixels, seen.grid).shape[-2:]
    wanted = (rows * vlm.patch_px, cols * vlm.patch_px)
    expect(
        (height, width) == wanted,
        f"picture() is {height}×{width}, but {rows}×{cols} cells of patch_px "
        f"{vlm.patch_px} are {wanted[0]}×{wanted[1]}",
    )
    return f"{rows}×{cols} cells of {vlm.patch_px} pixels"


@promise("cells in place")
def cells_in_place(case: Case) -> str:
    """A bright square changes the features of its own corner most."""
    plain = cells_of(case, case.image)
    for corner, (x, y) in CORNERS.items():
        change = relative_change(cells_of(case, case.marked(corner)), plain)
        halves = np.array_split(change, 2, axis=0)
        quarters = [np.array_split(half, 2, axis=1) for half in halves]
        means = np.array([[quarter.mean() for quarter in row] for row in quarters])
        most = np.unravel_index(means.argmax(), means.shape)
        expect(most == (y, x), f"a square {corner} changes another corner more")
    return f"checked {', '.join(CORNERS)}"


@promise("visible part")
def visible_part(case: Case) -> str:
    """What ``fit`` says is cut off does not reach the pixels; the corners do."""
    vlm, (width, height) = case.vlm, case.image.size
    left, top, right, bottom = vlm.visible(case.image.size)
    for corner in CORNERS:
        pixels, _ = vlm.pixels([case.marked(corner)])
        expect(not torch.equal(pixels, case.seen.pixels), f"{corner} is not seen")
    if (left, top, right, bottom) == (0, 0, width, height):
        return f"all of it ({vlm.fit})"
    cut = case.image.copy()
    # Resampling looks a little beyond the edge: half of the margin is left alone.
    for x, y in ((left / 2, height), (width, top / 2)):
        cut.paste((255, 255, 255), (0, 0, int(x), int(y)))
    expect(torch.equal(vlm.pixels([cut])[0], case.seen.pixels), "it sees the rest too")
    return f"{left:g} to {right:g} × {top:g} to {bottom:g} pixels ({vlm.fit})"


# What the model looks at.


@promise("row sums")
def row_sums(case: Case) -> str:
    """Every layer's attention row covers the whole prompt and sums to one."""
    layers = list(range(len(case.vlm.attention)))
    rows, *connector = case.vlm.attend(case.prompt, layers)
    keys = case.prompt.words.ids.shape[1]
    expect(rows.shape[-1] == keys, f"rows of {rows.shape[-1]} keys, prompt of {keys}")
    expect(len(rows) == len(layers), f"{len(rows)} rows for {len(layers)} layers")
    for step in (rows, *connector):
        expect(bool((step >= 0).all()), "negative attention")
        worst = float((step.sum(-1) - 1).abs().max())
        expect(worst < 1e-3, f"off one by up to {worst:.2g}")
    return f"{len(layers)} layers, {rows.shape[2]} heads, {keys} keys"


@promise("map moves")
def map_moves(case: Case) -> str:
    """A bright square moved to another corner changes the map."""
    maps = [attention_to(case, case.marked(corner)) for corner in CORNERS]
    for values in maps:
        expect(bool(values.isfinite().all()), "the map is not finite")
    change = min(apart(maps[0], other) for other in maps[1:])
    expect(change > 1e-6, "the same map wherever a bright square is")
    return f"by {change:.2g} of its range at least"


@promise("attention gradient")
def attention_gradient(case: Case) -> str:
    """The answer's gradient to the attention is finite and not all zero."""
    scores, attentions = case.vlm.trace(case.prompt)
    gradients = torch.autograd.grad(likelihood(scores), attentions)
    sizes = [checked_size(gradient) for gradient in gradients]
    expect(bool((attentions[0].sum(-1) - 1).abs().max() < 1e-3), "not a row of one")
    return f"largest {', '.join(f'{size:.2g}' for size in sizes)}"


@promise("pixel gradient")
def pixel_gradient(case: Case) -> str:
    """The answer's gradient to the pixels is finite and not all zero."""
    with torch.enable_grad():
        pixels = case.seen.pixels.detach().requires_grad_()
        seen = case.vlm.see(pixels, case.seen.grid)
        hidden, _ = case.vlm.run(case.vlm.follow(case.prompt.words, [seen]))
        scores = case.vlm.logits(hidden[:, -1])
        (gradient,) = torch.autograd.grad(likelihood(scores), pixels)
    picture = case.vlm.picture(gradient, case.seen.grid)
    expect(picture.ndim == 4, f"picture() of shape {[*picture.shape]}")
    return f"largest {checked_size(picture):.2g}"


# What the model answers.


@promise("placeholder refused")
def placeholder_refused(case: Case) -> str:
    """A question that holds the image placeholder is a ValueError."""
    token = case.vlm.tokenizer.decode([case.vlm.image_token_id])
    with suppress(ValueError):
        case.vlm.words(f"what is {token}?", [case.seen])
        raise Broken(f"a question with {token} is taken for one about more images")
    return f"{token} is refused"


@promise("shared prefix")
def shared_prefix(case: Case) -> str:
    """The answer from the kept image tokens is that of the whole prompt at once."""
    return like_plain(case, case.prompt)


@promise("two images")
def two_images(case: Case) -> str:
    """A crop beside the image keeps the image's tokens, and is read."""
    if case.vlm.most_images < 2:
        raise NotPossible("the family takes one image in a prompt")
    crops = [case.marked(corner) for corner in CORNERS]
    first, second = (with_crop(case, crop) for crop in crops[:2])
    ids, kept = first.words.ids, case.prompt.prefix.ids
    shown = int((ids == case.vlm.image_token_id).sum())
    wanted = sum(case.vlm.token_count(image) for image in first.seen)
    expect(shown == wanted, f"{shown} placeholders for two images, not {wanted}")
    begins = torch.equal(ids[:, : kept.shape[1]], kept)
    expect(begins, "the prompt does not begin with the image's tokens")
    change = apart(first_scores(case, first), first_scores(case, second))
    expect(change > 1e-6, "another crop makes no difference")
    return like_plain(case, first)


@promise("stock answer")
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
    ours = vlm.generate(prompt, ANSWER_TOKENS)
    same_tokens(case, prompt, ours, found)
    return f"{len(ours)} tokens"


@promise("batch")
def batch(case: Case) -> str:
    """Two pictures looked at together give what each gives alone."""
    vlm = case.vlm
    pictures = [case.marked(corner) for corner in ("top right", "bottom left")]
    together = vlm.prompt(case.question, [vlm.look_at(pictures)])
    alone = [vlm.prompt(case.question, [vlm.look_at([one])]) for one in pictures]
    layers = [vlm.layer]
    rows, *_ = vlm.attend(together, layers)
    singly = torch.cat([vlm.attend(one, layers)[0] for one in alone], 1)
    expect(rows.shape == singly.shape, f"attention of shape {[*rows.shape]}")
    scores = first_scores(case, together)
    single = torch.cat([first_scores(case, one) for one in alone])
    worst = max(apart(rows, singly), apart(scores, single))
    expect(worst < case.tolerance, f"attention or scores differ by {worst:.2g}")
    return f"attention and scores within {worst:.1g} of their range"


@promise("dtype and device")
def dtype_and_device(case: Case) -> str:
    """Everything is where the model is, and as exact."""
    vlm, prompt = case.vlm, case.prompt
    tensors = {
        "pixels": case.seen.pixels,
        "features": case.seen.features,
        "image tokens": vlm.image_tokens(case.seen, prompt.words),
        "suffix": prompt.suffix,
        "scores": first_scores(case, prompt),
    }
    for name, tensor in tensors.items():
        expect(tensor.dtype == vlm.dtype, f"{name} are {tensor.dtype}")
        expect(tensor.device == vlm.device, f"{name} are on {tensor.device}")
    expect(prompt.words.ids.device.type == "cpu", "ids are not on the CPU")
    return f"{str(vlm.dtype).removeprefix('torch.')} on {vlm.device}"


@promise("nothing left behind")
def nothing_left_behind(case: Case) -> str:
    """Hooks, configs and flags are as they were, after an error inside too."""
    vlm, unfit, raised = case.vlm, torn(case), 0
    hooked = hooks(vlm)
    vlm.look_at([case.image])
    vlm.attend(case.prompt, [vlm.layer])
    vlm.trace(case.prompt)
    compare_states(case.before, state(vlm), "after a look")
    for verb in (lambda: vlm.attend(unfit, [0]), lambda: vlm.trace(unfit)):
        try:
            verb()
        except Exception:  # which one is the model's business
            raised += 1
        compare_states(case.before, state(vlm), "after an error inside")
    compare_states(hooked, hooks(vlm), "after a look")
    expect(raised > 0, "no error could be provoked inside, so nothing was tried")
    return f"{len(hooked)} modules, {raised} errors provoked"
