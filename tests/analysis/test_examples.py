"""Examples are chosen by rule, and what is shown of them is what was measured."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from analysis import figures
from analysis.figures import examples
from vicrop import boxes
from vicrop.run import datasets


@pytest.fixture
def data(write_data, row, picture):
    rows = [
        row(id="a", boxes=[[200, 200, 216, 216]], labels=["7"]),
        row(id="b", boxes=[[40, 60, 60, 80]], question="what is <b>it</b>?"),
    ]
    return str(write_data(rows, [picture]))


def run_of(*rows):
    names = ["id", "image", "group", "plain_score", "score", "plain", "answer", "box"]
    return pd.DataFrame(rows, columns=names).set_index("id")


BOX = (190, 190, 222, 222)


def test_those_that_are_repaired_come_first_then_a_failure():
    rows = [
        (f"{n}", f"{n}.jpg", "small", 0.0, float(n % 2), "1", "2", BOX)
        for n in range(12)
    ]
    assert list(examples.chosen(run_of(*rows)).index) == ["1", "3", "5", "0"]


@pytest.mark.parametrize(
    "change", [{"group": "large"}, {"plain_score": 1.0}, {"box": None}]
)
def test_only_small_objects_that_were_misread_and_have_a_crop(change):
    run = run_of(("a", "a.jpg", "small", 0.0, 1.0, "1", "7", BOX))
    changed = run.assign(**{name: [value] for name, value in change.items()})
    assert len(examples.chosen(run)) == 1 and examples.chosen(changed).empty


def test_no_picture_comes_twice():
    rows = [(n, "a.jpg", "small", 0.0, 1.0, "1", "7", BOX) for n in "ab"]
    assert list(examples.chosen(run_of(*rows)).index) == ["a"]


@pytest.fixture
def shown(vlm, data):
    (sample,) = (one for one in datasets.load(data) if one.id == "b")
    amap = vlm.look(datasets.image_path(data, sample)).importance(
        sample.question, "rel-att"
    )
    box = boxes.select_box(amap, (448, 448), vlm.crop_px)
    run = run_of(("b", sample.image_path, "small", 0.0, 1.0, "1", "<i>2</i>", box))
    return examples.of(data, run, examples.maps(vlm, data, run))


def test_a_map_is_the_packages_and_the_ratio_of_its_two_attentions(shown):
    (one,) = shown
    ratio = one.cells["question"] / one.cells["general"]
    assert np.allclose(ratio, one.relative.values, rtol=1e-4)
    assert one.right and one.truth == (40, 60, 60, 80)


def test_the_hero_escapes_and_opens_the_first(shown):
    text = figures.hero(shown * 2).data
    assert "what is &lt;b&gt;it" in text and "&lt;i&gt;2" in text and "<i>2" not in text
    assert text.count(" checked") == 1 and text.count("<img ") == 6
    assert text.count("data:image/webp;base64,") == 6


def test_a_failure_says_what_is_right(shown):
    failed = dataclasses.replace(shown[0], right=False, answer="3", label="8")
    text = figures.hero([failed]).data
    assert "a failure" in text and "(right: 8)" in text and "✓" not in text


def test_without_examples_the_hero_says_so():
    assert "no example" in figures.hero([]).data
