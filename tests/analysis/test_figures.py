import base64
import io
import math
import re

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402 (after the backend is chosen)

from analysis import figures
from analysis.figures import charts
from vicrop import plots  # noqa: E402
from vicrop.run.records import Sample  # noqa: E402
from vicrop.run.stats import Estimate  # noqa: E402
from vicrop.types import Answer, Box, Map
from workflow import replay

A, B = Estimate(0.5, 0.25, 0.75, 10), Estimate(1.5, 1, 2, 20)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def ax():
    return plt.subplots()[1]


def drawn(figure) -> bytes:
    """The figure as PNG: drawing it must not warn."""
    stream = io.BytesIO()
    figure.savefig(stream)
    return stream.getvalue()


def outlines(ax):
    """(left, top, right, bottom) of the boxes drawn."""
    return [
        (p.get_x(), p.get_y(), p.get_x() + p.get_width(), p.get_y() + p.get_height())
        for p in ax.patches
        if isinstance(p, plots.Rectangle)
    ]


def test_charts_return_the_axes_they_drew_into(ax):
    one = [Estimate(0.5, 0.4, 0.6, 10)]
    assert figures.bars(["a"], {"x": one}, ax) is ax
    assert figures.forest({"a": one[0]}, ax, "gain") is ax
    assert figures.layers({"x": one}, ax, chosen=0) is ax
    assert figures.histogram([0.1, 0.2, 3], ax, [1], "size") is ax
    assert figures.curves([{"step": 1, "loss": 2.0}], ["loss"], ax) is ax


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


def test_the_chosen_layer_stands_in_the_legend(ax):
    figures.layers({"x": [Estimate(0.5, 0.4, 0.6, 10)] * 3}, ax, chosen=2)
    told = [text.get_text() for text in ax.get_legend().get_texts()]
    assert told == ["x", "map's layer"]


def test_texts_in_a_table_are_no_markup():
    frame = pd.DataFrame({"answer <i>": ["<script>alert(1)</script>", "a & b"]})
    for table in (figures.table(frame), figures.table(frame).format(precision=2)):
        html = table.to_html()
        assert "<script>" not in html and "<i>" not in html
        assert "&lt;script&gt;" in html and "a &amp; b" in html


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


def test_stacks_are_percent_of_each_row_with_counts():
    counts = pd.DataFrame({"x": [1, 0], "y": [3, 0]}, index=["one", "none"])
    figure = figures.stacks({"m": counts, "n": counts[:1]}, "questions, %")
    left, right = figure.axes
    assert [bar.get_width() for bar in left.patches] == [25, 0, 75, 0]
    assert [bar.get_x() for bar in left.patches] == [0, 0, 25, 0]
    labels = [text.get_text() for text in left.get_yticklabels()]
    assert labels == ["one, n = 4", "none, n = 0"]
    assert {text.get_text() for text in left.texts} == {"1", "3", ""}
    assert left.get_title() == "m" and right.get_title() == "n"
    assert drawn(figure)


def test_eight_parts_have_eight_colours():
    counts = pd.DataFrame([[1] * 8], columns=list("abcdefgh"))
    _, ax = plt.subplots()
    charts.stack(counts, ax)
    assert len({bar.get_facecolor() for bar in ax.patches}) == 8


def test_ladder_stands_each_step_on_the_one_before():
    values = {"none": 0.2, "twice": 0.1, "map": 0.6}
    rungs = {name: Estimate(v, v - 0.05, v + 0.05, 9) for name, v in values.items()}
    figure = figures.ladders({"m": rungs}, "accuracy, %")
    (ax,) = figure.axes
    spans = [(bar.get_x(), bar.get_width()) for bar in ax.patches]
    assert spans == [pytest.approx(pair) for pair in ((0, 20), (20, -10), (10, 50))]
    assert [text.get_text() for text in ax.texts] == ["−10.0", "+50.0"]
    colors = [bar.get_facecolor() for bar in ax.patches]
    named = (plots.GREY, plots.ORANGE, plots.BLUE)
    assert colors == [matplotlib.colors.to_rgba(color) for color in named]
    assert drawn(figure)


def test_bins_share_an_axis_and_leave_blank_what_is_empty():
    some, none = Estimate(0.2, 0.1, 0.3, 10), Estimate(math.nan, math.nan, math.nan, 0)
    few = Estimate(0.2, 0.1, 0.3, 9)
    series = {"maps": {"a": some, "b": none}, "blind": {"a": few, "b": some}}
    points = figures.in_percent({"m": series, "n": {}})
    assert points["m"]["maps"]["a"].value == 20
    figure = figures.binned(points, "share", "gain, points")
    left, _ = figure.axes
    assert [text.get_text() for text in left.get_xticklabels()] == ["a", "b"]
    maps, blind = (mark for mark in left.collections if len(mark.get_offsets()))
    assert [mark.get_offsets()[0, 1] for mark in (maps, blind)] == [20, 20]
    assert maps.get_offsets()[0, 0] < 0 < blind.get_offsets()[0, 0]
    hollow = [(face == 1).all() for face in blind.get_facecolors()]
    assert hollow == [True, False] and not (maps.get_facecolors()[0] == 1).all()
    assert drawn(figure)


def test_gallery_has_a_row_a_sample(picture, row):
    sample = Sample.model_validate(row(boxes=[[30, 40, 60, 70]]))
    answer = Answer("4", "3", Box(10, 20, 110, 120), Map(np.eye(4)))
    shown = [(picture, answer, sample), (picture, Answer("3", "3"), sample)]
    shown.append((picture, Answer("3", "3", Box(0, 0, 50, 50)), sample))
    figure = replay.gallery(shown)
    assert len(figure.axes) == 9
    assert "with this crop “4”" in figure.axes[2].get_xlabel()
    truth, crop = (patch.get_bbox().extents for patch in figure.axes[1].patches)
    assert truth[0] < 30 and truth[3] > 70
    assert tuple(crop) == (10, 20, 110, 120)
    assert drawn(figure)


def test_cases_are_drawn_from_records_alone(write_data, row, picture):
    data = str(write_data([row(boxes=[[30, 40, 60, 70]], labels=["4"])], [picture]))
    told = {"plain": "3", "answer": "4", "box": Box(10, 20, 110, 120)}
    figure = figures.cases(data, {"fixed": pd.Series(told, name=row()["id"])})
    left, right = figure.axes
    assert left.get_ylabel() == "fixed"
    assert left.get_xlabel() == "alone “3”, label “4”"
    assert right.get_xlabel() == "with this crop “4”"
    red, green = (matplotlib.colors.to_rgba(c) for c in (plots.CROP, plots.TRUTH))
    assert edges(left)[red] == (10, 110) and edges(left)[green][0] < 30
    assert right.get_xlim() == (0, 100)
    assert drawn(figure)


def test_compared_has_a_row_a_thing_and_a_mark_a_model():
    made = {"m": {"a": A, "b": B}, "n": {"b": A}}
    figure = figures.compared({"points": made, "%": {"n": {"c": B}}}, ["n"], null=None)
    left, right = figure.axes
    labels = [text.get_text() for text in left.get_yticklabels()]
    assert labels == ["a", "b", "c"]
    assert [ax.get_xlabel() for ax in (left, right)] == ["points", "%"]
    marks = {
        line.get_label(): line for line in left.lines if line.get_marker() != "None"
    }
    assert marks["m"].get_xdata().tolist() == [0.5, 1.5]
    first, second = marks["m"].get_ydata()
    assert first < 0 < second < 1 < marks["n"].get_ydata()[0]
    assert marks["n"].get_markerfacecolor() == "white"
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["m", "n"]
    assert drawn(figure)


def edges(ax):
    return {
        p.get_edgecolor(): (p.get_x(), p.get_x() + p.get_width()) for p in ax.patches
    }


def test_grid_has_a_labelled_panel_a_map(picture):
    shown = Map(np.eye(4)), Box(10, 20, 110, 120)
    rows = {"one": {"a": shown, "b": (shown[0], None)}, "other": {"a": shown}}
    figure = figures.grid(picture, rows, truth=[(30, 40, 60, 70)])
    first, second, third, empty = figure.axes
    assert [ax.get_ylabel() for ax in (first, third)] == ["one", "other"]
    assert [ax.get_xlabel() for ax in (first, second, third)] == ["a", "b", "a"]
    assert not empty.axison
    red, green = (matplotlib.colors.to_rgba(c) for c in (plots.CROP, plots.TRUTH))
    assert edges(first)[red] == (10, 110)
    assert edges(first)[green] == pytest.approx((30 - 4.48, 60 + 4.48))
    assert set(edges(second)) == {green}


def test_one_huge_pixel_does_not_darken_the_rest(picture):
    values = np.ones((30, 30))
    values[:15] = 2
    values[0, 0] = 1e6
    figure = figures.grid(picture, {"m": {"a": (Map(values), None)}})
    drawn = figure.axes[0].images[-1].get_array()
    assert drawn.max() == 2 and drawn.min() == 1


def test_map_that_is_zero_almost_everywhere_is_drawn_as_it_is(picture):
    values = np.zeros((30, 30))
    values[0, 0] = 7
    figure = figures.grid(picture, {"m": {"a": (Map(values), None)}})
    assert figure.axes[0].images[-1].get_array().max() == 7


def test_shares_stand_one_after_the_other_with_their_counts():
    counts = pd.DataFrame({"lower": [0, 3], "same": [4, 1]}, index=["one", "other"])
    _, ax = plt.subplots()
    figures.shares(counts, ax, "answers")
    spans = [(p.get_x(), p.get_x() + p.get_width()) for p in ax.patches]
    assert spans == [(0, 0), (0, 3), (0, 4), (3, 4)]
    assert {text.get_text() for text in ax.texts} == {"", "3", "4", "1"}
    assert ax.yaxis.get_inverted()  # topmost first


def test_size_histograms_have_a_panel_a_data_set_and_say_n():
    sizes = {name: [0.001, 0.01, 0.1][: n + 1] for n, name in enumerate("abcd", 1)}
    figure = figures.size_histograms(sizes, (0.005, 0.05))
    shown = [ax for ax in figure.axes if ax.axison]
    assert len(figure.axes) == 6
    assert [ax.get_xlabel() for ax in shown] == [
        f"size S, {name} (n = {len(values)})" for name, values in sizes.items()
    ]
    for ax, values in zip(shown, sizes.values(), strict=True):
        assert sum(bar.get_height() for bar in ax.patches) == len(values)


def test_panels_of_pairs_say_what_their_axis_is():
    line = [Estimate(2, 1, 3, 9)]
    groups = {"one": {"right": line * 3}, "two": {"right": line * 6}}
    deep = {"one": 3, "two": 3}
    figure = figures.by_layers(groups, {"one": 2, "two": 5}, "mean ratio", deep)
    first, second = figure.axes
    assert first.get_xlabel() == "layer, from 0"
    assert second.get_xlabel() == "l = m + 3k"
    plots.plt.close(figure)


def test_stacked_groups_stand_below_each_other_and_some_are_hollow():
    one = Estimate(3.0, 1.0, 5.0, 9)
    groups = {"first": {"a": one, "b": one}, "second": {"a": one}}
    figure = figures.stacked(groups, "points", {"a": "#ff0000"}, ["second"])
    (ax,) = figure.axes
    told = [label.get_text() for label in ax.get_yticklabels()]
    assert told == ["first", "a", "b", "second", "a"]
    faces = [
        line.get_markerfacecolor() for line in ax.lines if line.get_marker() == "o"
    ]
    assert faces == ["#ff0000", "#0072b2", "white"]
