"""The form of a page's figures: charts are SVG, what shows pictures is JPEG.

A chart is sharp at every size as SVG and can be edited; photographs and grain are a
tenth of a PNG's size as JPEG, and drawn in half the time.
"""

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

INSTALL = "from workflow import formats; formats.install()"
"""What a kernel is told before a notebook, whatever the one before it has set."""

SVG, JPEG = "image/svg+xml", "image/jpeg"
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


def undated(data: dict[str, Any]) -> dict[str, Any]:
    """An output's data, its chart without the lines that say when it was made.

    Args:
        data: by media type, as a cell's output has it.
    """
    stamp = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
    return {k: stamp.sub("", v) if k == SVG else v for k, v in data.items()}
