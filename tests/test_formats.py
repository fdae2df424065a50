import base64
import io

import numpy as np
from PIL import Image

from vicrop import formats
from vicrop.formats import JPEG, PNG, SVG

CHART = "<svg><metadata>\n <date>now</date>\n</metadata><path d='M0 0'/></svg>"
PICTURES = "<svg><image href='data:image/png;base64,AAAA'/></svg>"


def png(side, mode="RGB"):
    """Grain, which a PNG cannot press, as a cell's output has it."""
    channels = {"RGB": 3, "RGBA": 4}[mode]
    grain = np.random.default_rng(0).integers(0, 255, (side, side, channels), np.uint8)
    file = io.BytesIO()
    Image.fromarray(grain, mode).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def opened(data):
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_chart_is_svg_without_its_date():
    kept = formats.choose({SVG: CHART, PNG: png(8), "text/plain": "<Figure>"})
    assert kept == {SVG: "<svg><path d='M0 0'/></svg>", "text/plain": "<Figure>"}


def test_pictures_are_jpeg_of_their_size():
    kept = formats.choose({SVG: PICTURES, PNG: png(200), "text/plain": "<Figure>"})
    assert list(kept) == [JPEG, "text/plain"]
    assert opened(kept[JPEG]).size == (200, 200)
    assert len(kept[JPEG]) < len(png(200))


def test_small_picture_and_too_large_chart_stay_png():
    small, large = png(8), CHART + " " * formats.LARGEST_CHART
    assert formats.choose({SVG: PICTURES, PNG: small}) == {PNG: small}
    assert formats.choose({SVG: large, PNG: small}) == {PNG: small}


def test_what_is_no_figure_or_has_one_form_is_left():
    for data in ({"text/html": "<b>1</b>"}, {JPEG: "AAAA"}, {SVG: PICTURES}, {}):
        assert formats.choose(data) == data


def test_transparent_parts_are_white():
    clear = Image.new("RGBA", (300, 300), (0, 0, 0, 0))
    file = io.BytesIO()
    clear.save(file, "PNG")
    picture = opened(formats.jpeg(base64.b64encode(file.getvalue()).decode()))
    assert np.asarray(picture).min() > 250
