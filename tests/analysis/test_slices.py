import shutil

import pandas as pd
import pytest

from analysis import slices
from vicrop.run.records import RunConfig

pytestmark = pytest.mark.usefixtures("random_weights", "results_folder")


@pytest.fixture
def folder(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "data")


@pytest.fixture
def config(folder):
    return RunConfig(dataset=str(folder), max_new_tokens=2)


def test_only_keeps_the_samples_asked_for():
    tables = {"rel-att": pd.DataFrame({"score": [0, 1]}, index=["a", "b"])}
    chosen = slices.only(tables, ["b", "z"])
    assert [list(rows.index) for rows in chosen.values()] == [["b"]]


def test_share_in_view_is_of_the_object(write_data, row, picture):
    rows = [
        row(id="out", boxes=[[0, 10, 20, 30]]),
        row(id="half", boxes=[[90, 10, 110, 30]]),
        row(id="in", boxes=[[150, 10, 170, 30], [0, 0, 9, 9]]),
        row(id="none"),
    ]
    name = str(write_data(rows, [picture.resize((400, 200))]))
    assert slices.in_view(name, "centre-crop").to_dict() == {
        "out": 0,
        "half": 0.5,
        "in": 1,
    }
    assert slices.in_view(name, "pad").tolist() == [1, 1, 1]


def test_size_bins_are_equally_filled_and_lose_nobody():
    table = pd.DataFrame({"size": [(n + 1) ** 2 / 1e4 for n in range(12)]})
    bins = slices.size_bins(table, 4)
    assert [len(rows) for rows in bins.values()] == [3, 3, 3, 3]
    assert list(bins)[0].endswith("%")


def test_counts_sizes_and_pictures_describe_data(write_data, row, picture):
    box = [[0, 0, 20, 20]]
    rows = [
        row(id="a", boxes=box, meta={"kind": "digit"}),
        row(id="b", boxes=[[0, 0, 300, 300]], meta={"kind": "color"}),
        row(id="c", meta={"kind": "exists"}),
    ]
    name = str(write_data(rows, [picture]))
    counts = slices.counts([name]).iloc[0]
    assert (counts["images"], counts["questions"]) == (1, 3)
    assert (counts["small"], counts["large"], counts["no object"]) == (1, 1, 1)
    assert (counts["digit"], counts["exists"]) == (1, 1)
    assert slices.sizes(name) == [400 / 448**2, 90000 / 448**2]
    (label, image), *rest = slices.pictures([name], each=5)
    assert "448×448 px" in label and image.size == (448, 448) and rest == []


def test_table_is_split_by_kind(write_data, row):
    rows = [
        row(id=name, meta={"kind": kind})
        for name, kind in zip("abc", "xyx", strict=True)
    ]
    table = pd.DataFrame(index=list("abc"))
    split = slices.by_kind(table, str(write_data(rows)))
    assert {kind: list(part.index) for kind, part in split.items()} == {
        "x": ["a", "c"],
        "y": ["b"],
    }
