import base64
import io
import re

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402 (after the backend is chosen)

from analysis import figures
from vicrop import plots  # noqa: E402
from vicrop.run.records import Sample  # noqa: E402
from vicrop.run.stats import Estimate  # noqa: E402
from vicrop.types import Answer, Box, Map

A, B = Estimate(0.5, 0.25, 0.75, 10), Estimate(1.5, 1, 2, 20)


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close("all")


@pytest.fixture
def answer():
    amap = Map(np.eye(4), region=(64, 0, 384, 448))
    return Answer("4", "3", Box(10, 20, 110, 120), amap)


@pytest.fixture
def sample(row):
    return Sample.model_validate(row(boxes=[[30, 40, 60, 70]]))


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
    one = [Estimate(0.5, 0.4, 0.6, 10)]
    assert plots.show_image(picture, ax) is ax
    assert plots.show_map(picture, answer.amap, ax, label="ratio") is ax
    assert plots.show_box((1, 2, 3, 4), ax) is ax
    assert figures.bars(["a"], {"x": one}, ax) is ax
    assert figures.forest({"a": one[0]}, ax, "gain") is ax
    assert figures.layers({"x": one}, ax, chosen=0) is ax
    assert figures.histogram([0.1, 0.2, 3], ax, [1], "size") is ax
    assert figures.curves([{"step": 1, "loss": 2.0}], ["loss"], ax) is ax


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


def test_gallery_has_a_row_a_sample(picture, answer, sample):
    shown = [(picture, answer, sample), (picture, Answer("3", "3"), sample)]
    shown.append((picture, Answer("3", "3", Box(0, 0, 50, 50)), sample))
    figure = plots.gallery(shown)
    assert len(figure.axes) == 9
    assert "with this crop “4”" in figure.axes[2].get_xlabel()
    truth, crop = outlines(figure.axes[1])
    assert surrounds(truth, (30, 40, 60, 70)) and crop == (10, 20, 110, 120)
    assert drawn(figure)


def test_bars_stand_side_by_side_in_percent(ax):
    estimates = {
        name: [Estimate(value, value - 0.1, value + 0.1, 20) for value in (0.2, 0.6)]
        for name in ("plain", "cropped")
    }
    figures.bars(["small", "large"], estimates, ax)
    assert [bar.get_height() for bar in ax.patches] == [20, 60, 20, 60]
    lefts = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches)
    assert all(
        one[1] <= two[0] + 1e-9 for one, two in zip(lefts, lefts[1:], strict=False)
    )
    assert [text.get_text() for text in ax.get_xticklabels()] == ["small", "large"]
    assert "%" in ax.get_ylabel()


def test_forest_colours_what_excludes_nothing(ax):
    rows = {"yes": Estimate(0.2, 0.1, 0.3, 9), "no": Estimate(0.0, -0.1, 0.1, 9)}
    figures.forest(rows, ax, "gain")
    colors = [line.get_color() for line in ax.lines[:4]]
    assert colors == [plots.BLUE, plots.BLUE, plots.GREY, plots.GREY]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first row is on top


def test_layers_have_one_tick_each(ax):
    curve = [Estimate(value, value - 1, value + 1, 5) for value in (1, 2, 3)]
    figures.layers({"rel-att": curve, "raw-att": curve}, ax, chosen=1)
    assert ax.get_xticks().tolist() == [0, 1, 2]
    assert drawn(ax.figure)


def test_curves_leave_gaps_where_nothing_was_measured(ax):
    history = [{"step": 1, "a": 1.0}, {"step": 2, "b": 5.0}, {"step": 3, "a": 3.0}]
    figures.curves(history, ["a", "b"], ax)
    assert ax.lines[0].get_xydata().tolist() == [[1, 1], [3, 3]]
    assert ax.lines[1].get_xydata().tolist() == [[2, 5]]


def test_same_answer_draws_the_same_bytes(picture, answer):
    panels = [drawn(plots.answer_panel(picture, answer)) for _ in range(2)]
    assert panels[0] == panels[1]


def test_table_has_no_index_and_the_same_html_every_time():
    frame = pd.DataFrame({"run": ["a", "b"], "n": [1, 2]}, index=["x", "y"])
    html = figures.table(frame).to_html()
    assert html == figures.table(frame.copy()).to_html()
    assert ">x<" not in html and ">a<" in html


def test_fits_dim_what_is_not_seen(picture):
    small = picture.resize((9, 9))
    shown = {"pad": ((0, 0, 448, 448), small), "cut": ((100, 0, 300, 448), small)}
    figure = figures.fits(picture, shown, truth=(5, 5, 20, 20))
    first, second = figure.axes[:2]
    assert outlines(second)[0] == (100, 0, 300, 448)
    veils = [ax.images[1].get_array()[..., 3] for ax in (first, second)]
    assert (veils[0] == 0).all()
    assert (veils[1][:, 100:300] == 0).all() and (veils[1][:, 300:] > 0.5).all()
    assert (veils[1][:, :100] > 0.5).all()
    assert len(outlines(first)) == 2
    assert drawn(figure)


def test_forests_share_rows_and_leave_blank_what_a_group_lacks():
    some = Estimate(0.2, 0.1, 0.3, 9)
    figure = figures.forests({"m": {"a": some, "b": some}, "n": {"b": some}}, "points")
    left, right = figure.axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["a", "b"]
    assert left.get_ylim() == right.get_ylim() == (1.5, -0.5)
    drawn_rows = [
        line.get_ydata()[0]
        for line in right.lines
        if line.get_marker() == "o" and np.isfinite(line.get_xdata()[0])
    ]
    assert drawn_rows == [1]
    assert drawn(figure)


@pytest.mark.parametrize(("chosen", "side"), [(0, "left"), (2, "right")])
def test_label_of_the_chosen_layer_stays_inside_the_axes(ax, chosen, side):
    figures.layers({"x": [Estimate(0.5, 0.4, 0.6, 10)] * 3}, ax, chosen=chosen)
    assert [text.get_ha() for text in ax.texts] == [side]


def test_texts_in_a_table_are_no_markup():
    frame = pd.DataFrame({"answer <i>": ["<script>alert(1)</script>", "a & b"]})
    for table in (figures.table(frame), figures.table(frame).format(precision=2)):
        html = table.to_html()
        assert "<script>" not in html and "<i>" not in html
        assert "&lt;script&gt;" in html and "a &amp; b" in html


def test_forests_of_nothing_but_rounding_errors_have_an_axis_of_whole_numbers():
    nothing = Estimate(1e-17, 0, 2e-17, 36)
    figure = figures.forests({"a": {"x": nothing}, "b": {"x": nothing}}, "points")
    assert figure.axes[0].get_xlim() == (-1, 1)
    plt.close(figure)


def taken_along(html):
    """The numbers behind a page's CSV link."""
    (data,) = re.findall(r'href="data:text/csv;base64,([^"]*)"', html)
    return pd.read_csv(io.BytesIO(base64.b64decode(data)), keep_default_na=False)


@pytest.mark.parametrize(
    ("points", "places"),
    [(A, [""]), ([A, B], ["0", "1"]), ({"x": A, "y": B}, ["x", "y"])],
)
def test_numbers_behind_a_figure_can_be_taken_along(points, places):
    found = taken_along(figures.numbers({"one": points}).data)
    assert list(found.columns) == ["series", "at", "value", "low", "high", "n"]
    assert [str(place) for place in found["at"]] == places
    assert set(found["series"]) == {"one"}
    assert found.iloc[0, 2:].tolist() == [A.value, A.low, A.high, A.n]


def test_counts_behind_a_figure_can_be_taken_along():
    counts = pd.DataFrame({"fixed": [1, 2]}, index=["looked right", "looked wrong"])
    found = taken_along(figures.numbers({"a": counts, "b": counts * 10}).data)
    assert found.to_dict("list") == {
        "series": ["a", "a", "b", "b"],
        "at": ["looked right", "looked wrong"] * 2,
        "fixed": [1, 2, 10, 20],
    }


def test_table_can_be_taken_along_as_csv():
    frame = pd.DataFrame({"run": ["a, b", "ü\n<i>"], "n": [1, 2]}, index=["x", "y"])
    html = figures.table(frame)._repr_html_()
    again = taken_along(html)
    pd.testing.assert_frame_equal(again, frame.reset_index(drop=True))
    assert html == figures.table(frame.copy())._repr_html_()
    assert re.search(r'download="table-[0-9a-f]{8}\.csv"', html)
