import io

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402 (after the backend is chosen)

from vicrop import plots  # noqa: E402
from vicrop.types import Answer, Box, Map


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close("all")


@pytest.fixture
def answer():
    amap = Map(np.eye(4), region=(64, 0, 384, 448))
    return Answer("4", "3", Box(10, 20, 110, 120), amap)


def drawn(figure) -> bytes:
    """The figure as PNG: drawing it must not warn."""
    stream = io.BytesIO()
    figure.savefig(stream, metadata={"Software": None})
    plt.close(figure)
    return stream.getvalue()


def outlines(ax):
    """(left, top, right, bottom) of the boxes drawn."""
    return [
        (p.get_x(), p.get_y(), p.get_x() + p.get_width(), p.get_y() + p.get_height())
        for p in ax.patches
        if isinstance(p, plots.Rectangle)
    ]


def test_functions_return_the_axes_they_drew_into(ax, picture, answer):
    assert plots.show_image(picture, ax) is ax
    assert plots.show_map(picture, answer.amap, ax) is ax
    assert plots.show_box((1, 2, 3, 4), ax) is ax


def test_image_axes_are_pixels_with_the_origin_at_the_top(ax, picture):
    plots.show_image(picture, ax)
    assert ax.get_xlim() == (0, 448) and ax.get_ylim() == (448, 0)


def test_map_is_drawn_over_its_region_and_the_view_stays_the_image(ax, picture, answer):
    plots.show_map(picture, answer.amap, ax)
    assert ax.images[-1].get_extent() == [64, 384, 448, 0]
    assert ax.get_xlim() == (0, 448)


def test_map_without_a_region_lies_over_the_whole_image(ax, picture):
    plots.show_map(picture, Map(np.eye(3)), ax)
    assert ax.images[-1].get_extent() == [0, 448, 448, 0]


def test_box_is_drawn_where_it_is(ax):
    plots.show_box((10, 20, 30, 50), ax)
    assert outlines(ax) == [(10, 20, 30, 50)]


@pytest.mark.parametrize("cropped", [True, False])
def test_answer_panel_shows_truth_crop_and_words(picture, answer, cropped):
    shown = answer if cropped else Answer("3", "3")
    figure = plots.answer_panel(picture, shown, truth=[(30, 40, 60, 70)])
    image, *_ = figure.axes
    assert any(surrounds(outline, (30, 40, 60, 70)) for outline in outlines(image))
    assert ((10, 20, 110, 120) in outlines(image)) == cropped
    assert "“3”" in image.get_xlabel()
    assert drawn(figure)


def surrounds(outline, box):
    """Whether an outline lies around a box, close to it."""
    outside = [box[0] - outline[0], box[1] - outline[1]]
    outside += [outline[2] - box[2], outline[3] - box[3]]
    return all(0 < gap <= 0.2 * (box[2] - box[0]) for gap in outside)


def test_same_answer_draws_the_same_bytes(picture, answer):
    panels = [drawn(plots.answer_panel(picture, answer)) for _ in range(2)]
    assert panels[0] == panels[1]
