import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402 (after the backend is chosen)

from analysis.figures import panels
from vicrop import plots  # noqa: E402
from vicrop.run.stats import Estimate  # noqa: E402
from vicrop.types import Box, Map  # noqa: E402


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def edges(ax):
    return {
        p.get_edgecolor(): (p.get_x(), p.get_x() + p.get_width()) for p in ax.patches
    }


def test_grid_has_a_labelled_panel_a_map(picture):
    shown = Map(np.eye(4)), Box(10, 20, 110, 120)
    rows = {"one": {"a": shown, "b": (shown[0], None)}, "other": {"a": shown}}
    figure = panels.grid(picture, rows, truth=[(30, 40, 60, 70)])
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
    figure = panels.grid(picture, {"m": {"a": (Map(values), None)}})
    drawn = figure.axes[0].images[-1].get_array()
    assert drawn.max() == 2 and drawn.min() == 1


def test_map_that_is_zero_almost_everywhere_is_drawn_as_it_is(picture):
    values = np.zeros((30, 30))
    values[0, 0] = 7
    figure = panels.grid(picture, {"m": {"a": (Map(values), None)}})
    assert figure.axes[0].images[-1].get_array().max() == 7


def test_trade_draws_a_curve_of_fixed_ways_and_marks_the_others():
    _, ax = plt.subplots()
    share = Estimate(0.5, 0.4, 0.7, 9)
    ways = {
        "1.0 only": (Estimate(96, 96, 96, 9), share),
        "2.0 only": (Estimate(192, 192, 192, 9), share.times(1.2)),
        "sharpest": (Estimate(100, 98, 102, 9), share),
    }
    assert panels.trade({"m": ways}, ax, {"sharpest": "*"}) is ax
    curve = ax.lines[0]
    assert curve.get_xdata().tolist() == [96, 192]
    np.testing.assert_allclose(curve.get_ydata(), [50, 60])
    (bar,) = ax.containers
    np.testing.assert_allclose(bar.lines[2][0].get_segments()[0][:, 1], [40, 70])
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["m", "sharpest"]


def test_shares_stand_one_after_the_other_with_their_counts():
    counts = pd.DataFrame({"lower": [0, 3], "same": [4, 1]}, index=["one", "other"])
    _, ax = plt.subplots()
    panels.shares(counts, ax, "answers")
    spans = [(p.get_x(), p.get_x() + p.get_width()) for p in ax.patches]
    assert spans == [(0, 0), (0, 3), (0, 4), (3, 4)]
    assert {text.get_text() for text in ax.texts} == {"", "3", "4", "1"}
    assert ax.yaxis.get_inverted()  # topmost first


def test_size_histograms_have_a_panel_a_data_set_and_say_n():
    sizes = {name: [0.001, 0.01, 0.1][: n + 1] for n, name in enumerate("abcd", 1)}
    figure = panels.size_histograms(sizes, (0.005, 0.05))
    shown = [ax for ax in figure.axes if ax.axison]
    assert len(figure.axes) == 6
    assert [ax.get_xlabel() for ax in shown] == [
        f"size S, {name} (n = {len(values)})" for name, values in sizes.items()
    ]
    for ax, values in zip(shown, sizes.values(), strict=True):
        assert sum(bar.get_height() for bar in ax.patches) == len(values)
