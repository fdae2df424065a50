"""Costs: hand-made measurements, and those that are committed."""

import json

import numpy as np
import pandas as pd
import pytest

from analysis import costs
from analysis.costs import Measured
from vicrop import paths
from vicrop.methods import PAPER
from vicrop.run.stats import Estimate


def way(name, question="first", shape="real", **more):
    row = {
        "family": "llava",
        "shape": shape,
        "method": "rel-att",
        "way": name,
        "question": question,
        "flops": None,
        "flops_causal": None,
        "seconds": None,
        "image_tokens": 576,
        "crop_tokens": 576,
        "text_tokens": 31,
        "answer_tokens": 4,
    }
    return row | more


WAYS = {
    ("told", "first"): 10,
    ("answers", "first"): 11,
    ("ours", "first"): 12,
    ("ours", "further"): 5,
    ("plain", "first"): 30,
}


@pytest.fixture
def measured():
    counted = [
        way(*key, flops=n * 10**12, flops_causal=n * 10**12 - 10**11)
        for key, n in WAYS.items()
    ]
    timed = [way(*key, shape="mid", seconds=[n, n, n + 1]) for key, n in WAYS.items()]
    memory = [
        {"family": "llava", "shape": "mid", "what": what, "peak_bytes": size * 2**20}
        for what, size in (("plain answer", 4), ("rel-att map", 5))
    ]
    box = [
        {"cells": 24, "way": way, "seconds": [n] * 2}
        for way, n in (("loops", 8.0), ("ours", 0.25))
    ]
    tiles = [
        {"tiles": "2×2", "way": way, "seconds": [n] * 2}
        for way, n in (("plain", 9), ("ours", 3))
    ]
    matrix = [
        {"model": model, "way": way, "seconds": [n, n]}
        for model, way, n in (
            ("a", "plain", 5),
            ("a", "ours", 1),
            ("b", "plain", 7),
            ("b", "ours", 3),
        )
    ]
    methods = [
        {
            "model": "m",
            "dataset": "plates",
            "method": method,
            "questions": 3,
            "flops": flops * 1e9,
            "passes": 4.0,
            "visual_tokens": 288.0,
            "seconds": seconds,
            "peak_bytes": 2**20,
            "answer_token_seconds": 0.002,
        }
        for method, flops, seconds in (
            ("no-crop", 1.0, [0.010, 0.010, 0.030]),
            ("rel-att", 2.0, [0.020, 0.020, 0.020]),
            ("random-crop", 3.0, [0.015, 0.015, 0.015]),
        )
    ]
    machine = {"cpu": "abacus", "gpu": None}
    return Measured(
        machine,
        {
            "ways": counted + timed,
            "memory": memory,
            "box_search": box,
            "tiles": tiles,
            "matrix": matrix,
            "methods": methods,
        },
    )


def test_flops_are_ratios_of_ways(measured):
    (row,) = costs.flops(measured).to_dict("records")
    assert row["model"] == "llava, 576 + 576 tokens" and row["told, TFLOP"] == 10
    names = [*costs.RATIOS]
    assert [row[name] for name in names] == [1.2, 2.5, 0.5, 6]
    (row,) = costs.flops(measured, "flops_causal").to_dict("records")
    assert row["ours / told"] == pytest.approx(11.9 / 9.9)


def test_beyond_told_is_the_second_answer_and_the_map(measured):
    (row,) = costs.shares(measured).to_dict("records")
    assert row["answering twice"] == pytest.approx(0.1)
    assert row["looking"] == pytest.approx(0.1)


def test_seconds_are_ratios_of_medians_with_intervals(measured):
    (row,) = costs.seconds(measured, "mid").to_dict("records")
    found = row["plain / ours"]
    assert (found.value, found.n) == (2.5, 3)
    assert found.low == pytest.approx(31 / 13) and found.high == 2.5


def test_ratio_resamples_rounds_in_pairs():
    """A slow round is slow for both ways: their ratio does not move."""
    fast = [1.0, 2.0, 4.0, 8.0]
    assert costs.ratio([3 * one for one in fast], fast) == Estimate(
        3, np.nan, np.nan, 4
    )


def test_gpus_seconds_are_shown_where_there_are_any(measured):
    assert costs.on_gpu(measured).iloc[0, 0].startswith("not measured")
    timed = [way(*key, shape="gpu", seconds=[n, n]) for key, n in WAYS.items()]
    rows = {**measured.rows, "ways": [*measured.rows["ways"], *timed]}
    table = costs.on_gpu(Measured(measured.machine, rows))
    assert table["plain / ours"].iloc[0] == "2.50 (n = 2, no interval)"


def test_memory_is_over_the_plain_answers_of_the_same_model(measured):
    frame = costs.peaks(measured).set_index("what")
    assert frame.mib["rel-att map"] == 5
    assert frame.over_answer["rel-att map"] == 1.25
    (row,) = costs.memory(measured).to_dict("records")
    assert row["rel-att map"] == "5.0 (1.250)"


def test_whole_matrix_is_all_models_together(measured):
    assert costs.whole_matrix(measured) == Estimate(3, np.nan, np.nan, 2)


def test_costs_are_over_the_plain_answers_of_the_same_model(measured):
    found = costs.over_plain(measured)
    assert found.loc["m", "flops"].tolist() == [1, 2, 3]
    assert found.loc[("m", "rel-att"), ["ms", "passes", "mib"]].tolist() == [2, 1, 1]


def test_overhead_is_counted_in_answer_tokens(measured):
    frame = costs.in_answer_tokens(measured, {"llava": "m", "instructblip": "none"})
    (row,) = frame.to_dict("records")
    assert row["toy model on a CPU (ours)"] == pytest.approx(5)
    assert row["7B on a GPU (the paper's)"] == pytest.approx(1.16 / 0.17)


@pytest.mark.parametrize("text", ["{}", '{"machine": {}, "ways": []}'])
def test_unfinished_measurement_says_what_it_lacks(tmp_path, text):
    file = tmp_path / "found.json"
    file.write_text(text)
    with pytest.raises(ValueError, match="lacks .*memory.*; run make bench to its end"):
        costs.read(file)


def test_missing_measurement_says_how_to_make_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="make them with make bench"):
        costs.read(tmp_path / "none.json")


# The committed measurement.


@pytest.fixture(scope="module")
def committed():
    return costs.read()


def test_committed_measurement_is_whole(committed):
    """Three families, all ways, the paper's maps and word-att, at three shapes."""
    frame = committed.ways
    assert set(frame["shape"]) == {"real", "mid", "embedded"}
    for shape, rows in frame.groupby("shape"):
        assert set(rows.family) == set(costs.FAMILIES)
        maps = {*PAPER, "word-att"} if shape == "real" else set(rows.method)
        assert {*PAPER} <= maps == set(rows.method)
        found = rows.groupby("case").size()
        assert (found == len(maps) * len(WAYS)).all(), shape


def test_no_row_of_ours_is_slower_than_plain(committed):
    flops = costs.flops(committed)
    assert (flops["plain / ours"] > 1).all()
    for shape in ("mid", "embedded"):
        frame = costs.seconds(committed, shape)
        assert all(found.low > 1 for found in frame["plain / ours"])
    medians = [
        costs.medians(committed, "box_search", "cells", "loops"),
        costs.medians(committed, "tiles", "tiles", "plain"),
        costs.medians(committed, "matrix", "model", "plain"),
    ]
    assert all(found.value > 1 for kind in medians for found in kind.values())


@pytest.mark.parametrize("method", ["rel-att", "word-att"])
def test_attention_maps_need_a_plain_answers_memory(committed, method):
    frame = costs.peaks(committed)
    rows = frame[frame.what == f"{method} map"]
    assert len(rows) == 2 * len(costs.FAMILIES)
    assert (rows.over_answer <= 1.05).all()


def test_words_cost_little_more_than_being_told(committed):
    """At LLaVA's shape, FLOPs of all of ours over those with a crop for nothing."""
    frame = committed.ways
    real = frame[(frame["shape"] == "real") & (frame.family == "llava")]
    first = real[(real.question == "first") & (real.method == "word-att")]
    flops = first.set_index("way").flops
    assert 1 < flops["ours"] / flops["told"] <= 1.05


def test_tables_have_the_machine_and_intervals(committed):
    where = costs.where(committed).set_index("what")["is"]
    assert where["threads"] == "1" and len(where["date"]) == 10
    text = costs.readable(costs.seconds(committed, "mid"))
    assert text["plain / ours"].str.match(r"\d+\.\d\d \[\d+\.\d\d, \d+\.\d\d\]").all()
    assert (text.n >= 3).all()
    assert "all runs of all toy models" in set(costs.others(committed).what)


def test_numbers_are_written_with_their_digits_and_words_are_not():
    frame = pd.DataFrame({"a": [1.23456, 1234.5], "b": ["x", "y"], "c": [3, 4]})
    text = costs.rounded(frame, 2)
    assert text.to_dict("list") == {
        "a": ["1.23", "1,234.50"],
        "b": ["x", "y"],
        "c": [3, 4],
    }


def test_default_file_is_the_repositorys():
    file = paths.ROOT / "benchmarks" / "measured.json"
    assert costs.read().machine == json.loads(file.read_text("utf-8"))["machine"]
