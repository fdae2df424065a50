import json
from pathlib import Path

import pytest

from vicrop.scoring import gqa

VECTORS = json.loads(
    (Path(__file__).parent.parent / "golden" / "metric_vectors.json").read_text()
)


@pytest.mark.parametrize(
    ("prediction", "raw", "prepared"),
    [("yes", 1, 1), ("Yes", 0, 1), ("Yes.", 0, 1), (" yes", 0, 1), ("", 0, 0)],
)
def test_official_score_is_plain_equality(prediction, raw, prepared):
    assert gqa.score(prediction, ["yes"]) == raw
    assert gqa.score(gqa.prepared(prediction), ["yes"]) == prepared


@pytest.mark.parametrize(
    "case",
    [case for case in VECTORS if "llava_gqa_score" in case],
    ids=lambda case: case["note"],
)
def test_prepared_answers_of_the_vectors_score_as_llavas(case):
    labels = case["labels"]
    labels = [labels] if isinstance(labels, str) else labels
    said = gqa.prepared(case["prediction"])
    assert 100 * gqa.score(said, labels) == case["llava_gqa_score"]
