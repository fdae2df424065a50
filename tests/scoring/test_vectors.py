"""The 105 vectors, computed by the authors' script and the official scorers."""

import json
from pathlib import Path

import pytest

from vicrop import scoring
from vicrop.scoring import anls, gqa, pope, upstream, vqa

GOLDEN = Path(__file__).parents[1] / "golden"
VECTORS = json.loads((GOLDEN / "metric_vectors.json").read_text(encoding="utf-8"))
AGGREGATES = json.loads(
    (GOLDEN / "pope_aggregate_vectors.json").read_text(encoding="utf-8")
)
OTHER_FORMS = {
    "llava_gqa_score": gqa.llava_score,
    "lmms_eval_score": pope.strict_score,
    "anls_m4c_lower_strip": anls.m4c_score,
    "anls_paper_strict": anls.strict_score,
    "vqa_eval_score": vqa.vqav2_score,
}


def name_of(row: dict) -> str:
    return f"{row['dataset']}: {row['prediction']!r}, {row['note']}"


def percent(score: float):
    return pytest.approx(score, abs=1e-5)


def test_there_are_105_vectors_of_the_seven_data_sets():
    assert len(VECTORS) == 105
    assert {row["dataset"] for row in VECTORS} == set(
        filter(scoring.has_upstream, scoring.METRICS)
    )


@pytest.mark.parametrize("row", VECTORS, ids=name_of)
def test_official_score_is_the_reference_scorers(row):
    args = row["dataset"], row["prediction"], row["labels"], row.get("question")
    if row["official_score"] is None:
        with pytest.raises(ValueError, match="labels .* expected 10"):
            scoring.score(*args)
    else:
        assert 100 * scoring.score(*args) == percent(row["official_score"])


@pytest.mark.parametrize("row", VECTORS, ids=name_of)
def test_upstream_score_is_the_authors_script_s(row):
    args = row["dataset"], row["prediction"], row["labels"], row.get("question")
    score = scoring.score(*args, variant="upstream")
    assert 100 * score == percent(row["upstream_score"])


@pytest.mark.parametrize("column", OTHER_FORMS)
def test_the_other_forms_in_use_are_met_too(column):
    rows = [row for row in VECTORS if column in row]
    assert len(rows) >= 8
    for row in rows:
        labels = row["labels"]
        listed = [labels] if isinstance(labels, str) else labels
        score = OTHER_FORMS[column](row["prediction"], listed)
        assert 100 * score == percent(row[column]), row


@pytest.mark.parametrize("row", AGGREGATES, ids=lambda row: row["name"])
def test_pope_s_figures_are_the_official_script_s(row):
    made = pope.aggregate(row["predictions"], row["labels"])
    wanted = row["official"]
    if "error" in wanted:
        # A model that always says no: the script prints the counts, then divides by 0.
        counts = [made[key] for key in ("TP", "FP", "TN", "FN")]
        assert counts == [int(count) for count in wanted["printed"].split("\t")]
        assert made["precision"] == made["recall"] == made["f1"] == 0.0
        assert made["yes_ratio"] == 0 and made["accuracy"] == 0.5
    else:
        assert made == pytest.approx(wanted)


@pytest.mark.parametrize("row", AGGREGATES, ids=lambda row: row["name"])
def test_pope_s_upstream_accuracy_is_the_authors_script_s(row):
    pairs = list(zip(row["predictions"], row["labels"], strict=True))
    mean = sum(upstream.pope(said, label) for said, label in pairs) / len(pairs)
    assert 100 * mean == pytest.approx(row["upstream_accuracy"])


@pytest.mark.parametrize("row", AGGREGATES, ids=lambda row: row["name"])
def test_accuracy_is_the_mean_of_the_answers_scores(row):
    pairs = list(zip(row["predictions"], row["labels"], strict=True))
    scores = [scoring.score("pope", said, label) for said, label in pairs]
    made = pope.aggregate(row["predictions"], row["labels"])
    assert made["accuracy"] == pytest.approx(sum(scores) / len(scores))
