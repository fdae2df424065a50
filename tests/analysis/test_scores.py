"""Made-up answers with both scores."""

import json

import pytest

from analysis import scores
from vicrop import paths

VECTORS = paths.ROOT / "tests" / "golden" / "metric_vectors.json"


@pytest.fixture
def examples():
    return scores.examples(VECTORS)


def test_all_vectors_score_as_the_two_scripts_did(examples):
    assert len(examples) == 105
    assert examples["as stored"].all()


def test_a_score_that_differs_is_seen(tmp_path):
    rows = json.loads(VECTORS.read_text())[:2]
    rows[0]["official_score"] = 37.0
    file = tmp_path / "vectors.json"
    file.write_text(json.dumps(rows))
    assert list(scores.examples(file)["as stored"]) == [False, True]


def test_agreement_counts_every_answer_that_both_score(examples):
    counts = scores.agreement(examples)
    assert counts.to_numpy().sum() == examples["official, %"].notna().sum()
    docvqa = examples[examples["dataset"] == "docvqa"]
    higher = (docvqa["authors', %"] > docvqa["official, %"]).sum()
    assert counts.loc["docvqa", "authors' higher"] == higher


def test_largest_differences_come_first_and_undefined_scores_are_dashes(examples):
    table = scores.readable(examples[examples["dataset"] == "textvqa"])
    assert "–" in set(table["official, %"])
    numbers = table[table["official, %"] != "–"][["official, %", "authors', %"]]
    apart = numbers.astype(float).diff(axis=1).iloc[:, 1].abs()
    assert list(apart) == sorted(apart, reverse=True)


def test_long_labels_are_cut():
    assert scores.shown_labels(["x" * 100]).endswith("x…")
    assert len(scores.shown_labels(["x" * 100])) == scores.SHOWN + 1
