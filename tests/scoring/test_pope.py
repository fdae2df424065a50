import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vicrop.scoring import pope, upstream

GOLDEN = Path(__file__).parent.parent / "golden"
FILES = json.loads((GOLDEN / "pope_aggregate_vectors.json").read_text())


def counted(predictions, labels):
    """What the official script reports of a file, in its own words."""
    said = np.array([pope.read(text) == "yes" for text in predictions])
    true = np.array([label == "yes" for label in labels])
    rates = pope.rates(said, true, np.ones(len(labels)))
    return {
        "TP": (said & true).sum(),
        "FP": (said & ~true).sum(),
        "TN": (~said & ~true).sum(),
        "FN": (~said & true).sum(),
        "accuracy": np.mean(list(map(pope.score, predictions, zip(labels)))),
        "precision": rates["precision"],
        "recall": rates["recall"],
        "f1": rates["F1"],
        "yes_ratio": rates["yes ratio"],
    }


@pytest.mark.parametrize(
    "case",
    [case for case in FILES if "error" not in case["official"]],
    ids=lambda case: case["name"],
)
def test_rates_are_the_official_scripts(case):
    got = counted(case["predictions"], case["labels"])
    assert got == pytest.approx(case["official"])


def test_nothing_said_yes_gives_zeros_where_the_official_script_stops():
    (case,) = [case for case in FILES if "error" in case["official"]]
    got = counted(case["predictions"], case["labels"])
    assert case["official"]["error"] == "ZeroDivisionError"
    assert [got[key] for key in ("TP", "FP", "TN", "FN")] == [0, 0, 3, 3]
    assert got["accuracy"] == 0.5
    assert got["precision"] == got["recall"] == got["f1"] == got["yes_ratio"] == 0


def test_no_true_yes_gives_zero_recall():
    got = counted(["no", "yes"], ["no", "no"])
    assert (got["recall"], got["f1"], got["accuracy"]) == (0, 0, 0.5)


@pytest.mark.parametrize("case", FILES, ids=lambda case: case["name"])
def test_authors_accuracy_is_the_mean_of_their_scores(case):
    rows = zip(case["predictions"], case["labels"], strict=True)
    mean = sum(upstream.pope(*row) for row in rows) / len(case["labels"])
    assert 100 * mean == pytest.approx(case["upstream_accuracy"])


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["yes", "No.", "not so", "", "NO", "is there? no"]),
            st.sampled_from(["yes", "no"]),
        ),
        min_size=1,
    )
)
def test_rates_lie_between_zero_and_one(rows):
    got = counted(*zip(*rows, strict=True))
    assert all(0 <= got[key] <= 1 for key in ("precision", "recall", "f1", "yes_ratio"))
