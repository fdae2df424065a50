"""The form of a page's figures: charts are SVG, what shows pictures is JPEG.

A kernel draws each figure twice (``DRAW_BOTH``); of the two the lighter and sharper one
stays in the executed notebook. A chart is sharp at every size as SVG and can be edited;
photographs and grain are a tenth of a PNG's size as JPEG.
"""

import base64
import io
import re
from typing import Any

from PIL import Image

DRAW_BOTH = """
import matplotlib
from matplotlib_inline.backend_inline import set_matplotlib_formats
matplotlib.rcParams["svg.hashsalt"] = "vicrop"  # else its names change every time
set_matplotlib_formats("svg", "png")
"""
"""What a kernel is told before a notebook, whatever the one before it has set."""

SVG, PNG, JPEG = "image/svg+xml", "image/png", "image/jpeg"
LARGEST_CHART = 250_000
"""Characters of an SVG from which on it is no longer the lighter form."""
LARGEST_PNG = 60_000
"""Characters of a PNG (base64) up to which it stays one."""
QUALITY = 85


def choose(data: dict[str, Any]) -> dict[str, Any]:
    """An output's data with each figure in one form, and nothing that dates it.

    Args:
        data: by media type, as a cell's output has it.
    """
    kept = dict(data)
    if SVG in kept and is_chart(kept[SVG]):
        kept.pop(PNG, None)
        return kept | {SVG: undated(kept[SVG])}
    if PNG in kept:
        kept.pop(SVG, None)
        if len(kept[PNG]) > LARGEST_PNG:
            return {JPEG: jpeg(kept.pop(PNG))} | kept
    return kept


def is_chart(svg: str) -> bool:
    """Whether a figure is of lines and letters only, and not too many of them."""
    return "<image" not in svg and len(svg) <= LARGEST_CHART


def undated(svg: str) -> str:
    """An SVG without the lines that say when it was made, and by what."""
    return re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)


def jpeg(png: str) -> str:
    """A PNG (base64) as JPEG (base64), on white."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA")
    paper = Image.new("RGBA", picture.size, "white")
    paper.alpha_composite(picture)
    file = io.BytesIO()
    paper.convert("RGB").save(file, "JPEG", quality=QUALITY, optimize=True)
    return base64.b64encode(file.getvalue()).decode()
