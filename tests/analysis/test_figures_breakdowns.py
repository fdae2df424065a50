import io
import math

import matplotlib
import pandas as pd
import pytest

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402 (after the backend is chosen)

from analysis.figures import breakdowns
from vicrop import plots  # noqa: E402
from vicrop.run.records import Sample  # noqa: E402
from vicrop.run.stats import Estimate  # noqa: E402
from vicrop.types import Answer, Box


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def drawn(figure) -> bytes:
    """The figure as PNG: drawing it must not warn."""
    stream = io.BytesIO()
    figure.savefig(stream)
    return stream.getvalue()


def test_stacks_are_percent_of_each_row_with_counts():
    counts = pd.DataFrame({"x": [1, 0], "y": [3, 0]}, index=["one", "none"])
    figure = breakdowns.stacks({"m": counts, "n": counts[:1]}, "questions, %")
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
    breakdowns.stack(counts, ax)
    assert len({bar.get_facecolor() for bar in ax.patches}) == 8


def test_heat_tells_counts_and_shares():
    counts = pd.DataFrame({"a": [1, 0], "b": [2, 1]}, index=["x", "y"])
    figure = breakdowns.heat({"m": counts, "none": counts * 0})
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["1\n25 %", "2\n50 %", "0\n0 %", "1\n25 %"]
    assert figure.axes[0].get_title() == "m, n = 4"
    assert drawn(figure)


def test_ladder_stands_each_step_on_the_one_before():
    values = {"none": 0.2, "twice": 0.1, "map": 0.6}
    rungs = {name: Estimate(v, v - 0.05, v + 0.05, 9) for name, v in values.items()}
    figure = breakdowns.ladders({"m": rungs}, "accuracy, %")
    (ax,) = figure.axes
    spans = [(bar.get_y(), bar.get_height()) for bar in ax.patches]
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
    points = breakdowns.in_points({"m": series, "n": {}})
    assert points["m"]["maps"]["a"].value == 20
    figure = breakdowns.binned(points, "share", "gain, points")
    left, _ = figure.axes
    assert [text.get_text() for text in left.get_xticklabels()] == ["a", "b"]
    maps, blind = (mark for mark in left.collections if len(mark.get_offsets()))
    assert [mark.get_offsets()[0, 1] for mark in (maps, blind)] == [20, 20]
    assert maps.get_offsets()[0, 0] < 0 < blind.get_offsets()[0, 0]
    hollow = [(face == 1).all() for face in blind.get_facecolors()]
    assert hollow == [True, False] and not (maps.get_facecolors()[0] == 1).all()
    assert drawn(figure)


def test_gallery_of_nothing_says_so(picture, row):
    figure = breakdowns.gallery({}, "no answer was broken")
    (ax,) = figure.axes
    assert [text.get_text() for text in ax.texts] == ["no answer was broken"]
    said = Answer("4", "3", Box(0, 0, 9, 9)), Sample.model_validate(row())
    figure = breakdowns.gallery(
        {"m, a": (picture, *said), "n, a": (picture, *said)}, ""
    )
    assert [ax.get_ylabel() for ax in figure.axes[::3]] == ["m, a", "n, a"]
