"""When to crop at all: features by their formulas, the gate by its promise."""

import math

import numpy as np
import pytest
import torch

from vicrop import boxes, gate
from vicrop.gate import Gate
from vicrop.methods import FEATURES, OF_ANSWER, OF_MAP
from vicrop.types import Box, Map


def test_answers_features_are_those_of_its_first_tokens_chances(rng):
    for scale in (0.1, 1, 30):
        scores = scale * rng.standard_normal(50)
        chances = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        second, first = sorted(chances)[-2:]
        spread = -sum(p * math.log(p) for p in chances if p) / math.log(50)
        found = gate.of_scores(torch.tensor(scores))
        assert tuple(found) == OF_ANSWER
        wanted = [first, first - second, 1 - spread]
        assert list(found.values()) == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize(
    ("scores", "wanted"), [([0.0] * 8, 0.0), ([0.0] * 7 + [500.0], 1.0)]
)
def test_certainty_reaches_both_ends(scores, wanted):
    assert gate.of_scores(torch.tensor(scores))["certainty"] == wanted
    half = torch.tensor(scores).bfloat16()
    assert gate.of_scores(half)["certainty"] == wanted


def test_maps_features_are_its_entropy_and_what_the_box_leaves():
    values = np.array([[1.0, 2, 0], [3, 0, 2]])
    amap = Map(values)
    found = gate.of_map(amap, Box(0, 0, 20, 10), (30, 20))
    assert tuple(found) == OF_MAP
    assert found["map-spread"] == 0.625  # 5 of 8 lie outside
    assert found["map-entropy"] == pytest.approx(boxes.entropy(amap), abs=1e-4)


def test_threshold_is_a_value_above_which_few_enough_lie(rng):
    """Every n and alpha against counting, where a threshold exists at all."""
    for count in range(0, 40):
        values = list(rng.permutation(count) / 64)
        for alpha in (0.05, 0.1, 0.25, 0.5, 0.9):
            # P(a new one above the k-th lowest of n) = (n + 1 - k) / (n + 1).
            ranks = [
                k for k in range(1, count + 1) if (count + 1 - k) <= alpha * (count + 1)
            ]
            if ranks:
                made = Gate.calibrated("margin", values, alpha)
                assert made.threshold == sorted(values)[min(ranks) - 1]
                continue
            needed = math.ceil(1 / alpha) - 1
            with pytest.raises(ValueError, match=f"needs {needed} .* got {count};"):
                Gate.calibrated("margin", values, alpha)


@pytest.mark.parametrize("alpha", [0.1, 0.3])
def test_share_that_is_missed_keeps_the_promise(rng, alpha):
    """Exchangeable samples, rounded so that some are equal: mean over calibrations."""
    missed = []
    for _ in range(2000):
        values = np.round(rng.beta(2, 5, 60), 2)
        made = Gate.calibrated("probability", list(values[:20]), alpha)
        missed.append(
            np.mean([not made.crops({"probability": v}) for v in values[20:]])
        )
    assert alpha - 0.08 < np.mean(missed) <= alpha + 0.005


@pytest.mark.parametrize("alpha", [0, 1, -0.1, math.nan])
def test_alpha_that_is_no_share_is_refused(alpha):
    with pytest.raises(ValueError, match="expected a share between 0 and 1"):
        Gate.calibrated("margin", [0.5] * 50, alpha)


def test_feature_that_is_none_is_named():
    with pytest.raises(ValueError, match="unknown feature 'mood'; known: probability"):
        Gate.calibrated("mood", [0.5] * 50, 0.1)


def test_gate_knows_whether_it_needs_a_map():
    needs = [key for key in FEATURES if not Gate(key, 0.5).of_answer]
    assert tuple(needs) == OF_MAP
