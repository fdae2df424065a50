import json
from pathlib import Path

import pytest

from vicrop.scoring import gqa

VECTORS = json.loads(
    (Path(__file__).parent.parent / "golden" / "metric_vectors.json").read_text()
)


@pytest.mark.parametrize(
    ("prediction", "official", "llava"),
    [("yes", 1, 1), ("Yes", 0, 1), ("Yes.", 0, 1), (" yes", 0, 0), ("", 0, 0)],
)
def test_official_score_is_plain_equality(prediction, official, llava):
    assert gqa.score(prediction, ["yes"]) == official
    assert gqa.llava(prediction, ["yes"]) == llava


@pytest.mark.parametrize(
    "case",
    [case for case in VECTORS if "llava_gqa_score" in case],
    ids=lambda case: case["note"],
)
def test_llavas_form_of_the_vectors(case):
    labels = case["labels"]
    labels = [labels] if isinstance(labels, str) else labels
    assert 100 * gqa.llava(case["prediction"], labels) == case["llava_gqa_score"]
