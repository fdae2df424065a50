"""The form of a page's figures: charts are SVG, what shows pictures is JPEG.

A chart is sharp at every size as SVG and can be edited; photographs and grain are a
tenth of a PNG's size as JPEG, and drawn in half the time. A kernel draws each figure in
its form (``install``); other large PNGs are pressed afterwards (``choose``).
"""

import base64
import io
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import matplotlib
from IPython.core.getipython import get_ipython
from IPython.core.pylabtools import print_figure
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib_inline.backend_inline import set_matplotlib_formats
from PIL import Image

INSTALL = "from workflow import formats; formats.install()"
"""What a kernel is told before a notebook, whatever the one before it has set."""

SVG, PNG, JPEG = "image/svg+xml", "image/png", "image/jpeg"
LARGEST_PNG = 60_000
"""Characters of a PNG (base64) up to which it stays one."""
PRESSED = {"quality": 80, "optimize": True}


def install() -> None:
    """Draw each figure in one form from here on; for an IPython kernel."""
    matplotlib.rcParams["svg.hashsalt"] = "vicrop"  # else its names change every time
    set_matplotlib_formats("svg")
    shell = get_ipython()
    assert shell is not None and shell.display_formatter is not None
    formatters = shell.display_formatter.formatters
    as_svg = formatters[SVG].lookup_by_type(Figure)
    as_jpeg = partial(print_figure, fmt="jpg", base64=True, pil_kwargs=PRESSED)
    formatters[SVG].for_type(Figure, only(as_svg, charts=True))
    formatters[JPEG].for_type(Figure, only(as_jpeg, charts=False))


def only(draw: Callable[[Figure], Any], charts: bool) -> Callable[[Figure], Any]:
    """Draws charts or what is none; nothing of the other."""
    return lambda figure: draw(figure) if is_chart(figure) == charts else None


def is_chart(figure: Figure) -> bool:
    """Whether a figure is of lines and letters, without a picture in it."""
    return not figure.findobj(AxesImage)


def choose(data: dict[str, Any]) -> dict[str, Any]:
    """An output's data with nothing that dates it, and large pictures pressed.

    Args:
        data: by media type, as a cell's output has it.
    """
    kept = dict(data)
    if SVG in kept:
        kept[SVG] = undated(kept[SVG])
    if len(kept.get(PNG, "")) > LARGEST_PNG:
        return {JPEG: jpeg(kept.pop(PNG))} | kept
    return kept


def undated(svg: str) -> str:
    """An SVG without the lines that say when it was made, and by what."""
    return re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)


def jpeg(png: str) -> str:
    """A PNG (base64) as JPEG (base64), on white."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA")
    paper = Image.new("RGBA", picture.size, "white")
    paper.alpha_composite(picture)
    file = io.BytesIO()
    paper.convert("RGB").save(file, "JPEG", **PRESSED)
    return base64.b64encode(file.getvalue()).decode()
