"""The method on a few examples, as HTML that needs no script: look, crop, ask again."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from IPython.display import HTML
from matplotlib import colormaps
from PIL import Image, ImageDraw

from vicrop.plots import CROP

if TYPE_CHECKING:  # figures stand below what is measured
    from analysis.figures.examples import Example

SIDE = 300
"""Of a picture, pixels."""
RING = "#ffd400"
OPACITY = 0.7
"""Of a map over its picture."""
NONE = "<p>No small object here is misread without a crop, so there is no example.</p>"


def hero(examples: Sequence[Example]) -> HTML:
    """Examples behind buttons, the first one open: question, picture, map and crop."""
    shown = "".join(_shown(one, number) for number, one in enumerate(examples))
    buttons = "".join(_button(one, number) for number, one in enumerate(examples))
    choice = f"<fieldset><legend>Examples</legend>{buttons}</fieldset>"
    return HTML(f'<div class="hero">{choice}{shown}</div>' if examples else NONE)


def _button(one: Example, number: int) -> str:
    """A radio button: without any style all examples stand below each other."""
    told = "repaired" if one.right else "a failure"
    kept = " checked" if number == 0 else ""
    button = f'<input type="radio" name="hero" class="hero-{number}"{kept}>'
    return f"<label>{button}{number + 1} · {told}</label>"


def _shown(one: Example, number: int) -> str:
    steps = (
        (ringed(one), "the picture, what is asked about ringed", _alone(one)),
        (heated(one), "where the model looked, bright", "where it looked"),
        (one.image.crop(one.box), "the crop from where it looked", _beside(one)),
    )
    panels = "".join(
        f'<div><img src="{_data(image)}" alt="{html.escape(alt)}"><p>{said}</p></div>'
        for image, alt, said in steps
    )
    question = f'<p class="bubble">“{html.escape(one.question)}”</p>'
    return f'<div class="example example-{number}">{question}{panels}</div>'


def _alone(one: Example) -> str:
    return f"picture alone: {_verdict(one.plain, False)}"


def _beside(one: Example) -> str:
    said = _verdict(one.answer, one.right)
    told = "" if one.right else f" (right: {html.escape(one.label)})"
    return f"with this crop: {said}{told}"


def _verdict(said: str, right: bool) -> str:
    """An answer, and by colour, sign and word whether it is right."""
    kind, sign, word = ("right", "✓", "right") if right else ("wrong", "✗", "wrong")
    mark = f'<span role="img" aria-label="{word}">{sign}</span>'
    return f'<b class="{kind}">{html.escape(said)} {mark}</b>'


def ringed(one: Example) -> Image.Image:
    """The picture with a ring around what is asked about, and the crop's outline."""
    made, (left, top, right, bottom) = one.image.copy(), one.truth
    width = max(2, made.width // 110)
    middle, reach = ((left + right) / 2, (top + bottom) / 2), 0.9 * (right - left) + 6
    ring = [place + side * reach for side in (-1, 1) for place in middle]
    ImageDraw.Draw(made).ellipse(ring, outline=RING, width=width)
    return made


def heated(one: Example) -> Image.Image:
    """The picture under its map, and the crop that the map points to."""
    values = one.cells["relative"]
    heat = Image.fromarray(colormaps["magma"](values / values.max(), bytes=True))
    left, top, right, bottom = map(round, one.region)
    heat = heat.convert("RGB").resize((right - left, bottom - top), Image.Resampling(0))
    made = one.image.copy()
    below = made.crop((left, top, right, bottom))
    made.paste(Image.blend(below, heat, OPACITY), (left, top))
    ImageDraw.Draw(made).rectangle(
        one.box, outline=CROP, width=max(2, made.width // 90)
    )
    return made


def _data(image: Image.Image) -> str:
    """A picture as an address that holds it."""
    made = image.convert("RGB").copy()
    larger = SIDE / max(made.size)
    size = round(made.width * larger) or 1, round(made.height * larger) or 1
    file = io.BytesIO()
    made.resize(size, Image.Resampling.LANCZOS).save(file, "WEBP", quality=82)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
