import base64
import io

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from workflow import formats
from workflow.formats import JPEG, PNG, SVG

CHART = "<svg><metadata>\n <date>now</date>\n</metadata><path d='M0 0'/></svg>"


def png(side, mode="RGB"):
    """Grain, which a PNG cannot press, as a cell's output has it."""
    channels = {"RGB": 3, "RGBA": 4}[mode]
    grain = np.random.default_rng(0).integers(0, 255, (side, side, channels), np.uint8)
    file = io.BytesIO()
    Image.fromarray(grain, mode).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def opened(data):
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_chart_is_left_without_its_date():
    kept = formats.choose({SVG: CHART, "text/plain": "<Figure>"})
    assert kept == {SVG: "<svg><path d='M0 0'/></svg>", "text/plain": "<Figure>"}


def test_large_picture_is_jpeg_of_its_size():
    kept = formats.choose({PNG: png(200), "text/plain": "<Figure>"})
    assert list(kept) == [JPEG, "text/plain"]
    assert opened(kept[JPEG]).size == (200, 200)
    assert len(kept[JPEG]) < len(png(200))


def test_small_picture_and_what_is_no_figure_are_left():
    for data in ({PNG: png(8)}, {"text/html": "<b>1</b>"}, {JPEG: "AAAA"}, {}):
        assert formats.choose(data) == data


def test_only_what_shows_a_picture_is_no_chart():
    figure, axes = plt.subplots(1, 2)
    axes[0].plot([1, 2])
    axes[1].pcolormesh([[1, 2], [3, 4]])
    assert formats.is_chart(figure)
    assert formats.only(lambda _: "drawn", True)(figure) == "drawn"
    assert formats.only(lambda _: "drawn", False)(figure) is None
    axes[0].imshow([[1, 2], [3, 4]])
    assert not formats.is_chart(figure)
    plt.close(figure)


def test_transparent_parts_are_white():
    clear = Image.new("RGBA", (300, 300), (0, 0, 0, 0))
    file = io.BytesIO()
    clear.save(file, "PNG")
    picture = opened(formats.jpeg(base64.b64encode(file.getvalue()).decode()))
    assert np.asarray(picture).min() > 250
