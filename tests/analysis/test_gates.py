"""What a gate trades, from records that can be reckoned by hand."""

import numpy as np
import pandas as pd
import pytest

from analysis.protocol import gates
from vicrop.gate import Gate


def run(features, plain, score):
    ids = [str(number) for number in range(len(plain))]
    return pd.DataFrame(
        {
            "features": [{} if f is None else {"probability": f} for f in features],
            "plain_score": np.array(plain, float),
            "score": np.array(score, float),
            "image": ids,
        },
        index=ids,
    )


@pytest.fixture
def frame():
    """Repaired, kept right, broken, hopeless; and one that failed."""
    return run([0.2, 0.9, 0.8, 0.5, None], [0, 1, 1, 0, np.nan], [1, 1, 0, 0, np.nan])


def test_threshold_is_of_repaired_answers_of_the_calibration_alone():
    places = np.arange(20) / 20
    calibration = run(places, [0] * 10 + [1] * 10, [1] * 20)
    found = gates.calibrated(calibration, "probability", 0.1)
    assert found == Gate("probability", places[9])
    with pytest.raises(ValueError, match="needs 19 calibration samples"):
        gates.calibrated(calibration, "probability", 0.05)


def slow(frame, threshold):
    """Share cropped, accuracy and risk at a threshold, question by question."""
    rows = [row for _, row in frame.iterrows() if row["features"]]
    cropped = [row["features"]["probability"] <= threshold for row in rows]
    pairs = list(zip(rows, cropped, strict=True))
    right = [row["score"] if crop else row["plain_score"] for row, crop in pairs]
    kept = [1 - row["plain_score"] for row, crop in pairs if not crop]
    return np.mean(cropped), np.mean(right), np.mean(kept) if kept else np.nan


def test_curve_is_that_of_every_threshold_in_a_loop(rng):
    values = rng.integers(0, 6, 40) / 5  # many alike
    frame = run(values, rng.integers(0, 2, 40), rng.integers(0, 2, 40))
    made = gates.traded(frame, "probability")
    expected = [slow(frame, threshold) for threshold in (-1, *sorted(set(values)))]
    np.testing.assert_allclose(made.to_numpy(), expected)


def test_ways_by_hand(frame):
    found = gates.outcomes(frame, Gate("probability", 0.5))
    values = {way: [e.value for e in one.values()] for way, one in found.items()}
    assert values == {
        "never": [0.5, 0, 1, 0],
        "gate": [0.75, 0.5, 0, 0.25],
        "always": [0.5, 1, 0, 0],
        "oracle": [0.75, 0.25, 0, 0.25],
    }
    made = gates.table({"m": found}).set_index("crops")
    assert made.loc["gate", "n"] == 4
    assert made.loc["oracle", "accuracy, %"].startswith("75.0 [")


def test_what_nobody_could_repair_cannot_be_missed(frame):
    found = gates.outcomes(frame.loc[["1"]], Gate("probability", 0.5))["gate"]
    assert found["missed"].n == 0 and found["accuracy"].value == 1


def test_panels_have_curves_and_marks_of_each_model():
    one = ({"probability": ([0, 1], [0.5, 1])}, {"always": (1, 1)})
    figure = gates.panels({"m": one, "n": one}, "cropped", "accuracy")
    assert [len(ax.lines) for ax in figure.axes] == [2, 2]
    assert figure.axes[0].get_ylabel() == "accuracy"
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["probability", "always"]
