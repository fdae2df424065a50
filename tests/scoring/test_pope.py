import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vicrop.scoring import pope, upstream

GOLDEN = Path(__file__).parent.parent / "golden"
VECTORS = json.loads((GOLDEN / "metric_vectors.json").read_text())
FILES = json.loads((GOLDEN / "pope_aggregate_vectors.json").read_text())


def name_of(case):
    return case.get("name") or case["note"]


@pytest.mark.parametrize(
    "case", [case for case in FILES if "error" not in case["official"]], ids=name_of
)
def test_aggregates_are_the_official_scripts(case):
    got = pope.aggregate(case["predictions"], case["labels"])
    assert got == pytest.approx(case["official"])


def test_nothing_said_yes_gives_zeros_where_the_official_script_stops():
    (case,) = [case for case in FILES if "error" in case["official"]]
    got = pope.aggregate(case["predictions"], case["labels"])
    assert case["official"]["error"] == "ZeroDivisionError"
    assert [got[key] for key in ("TP", "FP", "TN", "FN")] == [0, 0, 3, 3]
    assert got["accuracy"] == 0.5
    assert got["precision"] == got["recall"] == got["f1"] == got["yes_ratio"] == 0


def test_no_true_yes_gives_zero_recall():
    got = pope.aggregate(["no", "yes"], ["no", "no"])
    assert (got["recall"], got["f1"], got["accuracy"]) == (0, 0, 0.5)


@pytest.mark.parametrize("case", FILES, ids=name_of)
def test_authors_accuracy_is_the_mean_of_their_scores(case):
    rows = zip(case["predictions"], case["labels"], strict=True)
    mean = sum(upstream.pope(*row) for row in rows) / len(case["labels"])
    assert 100 * mean == pytest.approx(case["upstream_accuracy"])


@pytest.mark.parametrize(
    "case",
    [case for case in VECTORS if "lmms_eval_score" in case],
    ids=name_of,
)
def test_lmms_evals_form_of_the_vectors(case):
    labels = case["labels"]
    labels = [labels] if isinstance(labels, str) else labels
    assert 100 * pope.lmms_eval(case["prediction"], labels) == case["lmms_eval_score"]


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["yes", "No.", "not so", "", "NO", "is there? no"]),
            st.sampled_from(["yes", "no"]),
        ),
        min_size=1,
    )
)
def test_aggregate_accuracy_is_the_mean_score(rows):
    got = pope.aggregate(*zip(*rows, strict=True))
    mean = sum(pope.score(said, [label]) for said, label in rows) / len(rows)
    assert got["accuracy"] == pytest.approx(mean)
    assert sum(got[key] for key in ("TP", "FP", "TN", "FN")) == len(rows)
    assert all(0 <= got[key] <= 1 for key in ("precision", "recall", "f1", "yes_ratio"))


@pytest.mark.parametrize(
    ("predictions", "labels", "message"),
    [
        ([], [], "0 predictions do not go with 0 labels"),
        (["yes"], ["yes", "no"], "1 predictions do not go with 2 labels"),
        (["yes", "no"], ["yes", "No"], "label 'No' of row 1 must be 'yes' or 'no'"),
    ],
)
def test_what_cannot_be_counted_is_named(predictions, labels, message):
    with pytest.raises(ValueError, match=message):
        pope.aggregate(predictions, labels)
