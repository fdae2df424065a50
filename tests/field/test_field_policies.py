"""What people bring to crop policies and gates; all of it found since."""

import shutil

import pytest

from vicrop.run import loop, provenance
from vicrop.run.records import RunConfig

pytestmark = pytest.mark.usefixtures("random_weights", "results_folder")
FEW = ("--max-new-tokens", "2")


@pytest.fixture
def data(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "data")


@pytest.fixture
def no_model(monkeypatch):
    def load(config):
        raise AssertionError("a model is loaded")

    monkeypatch.setattr(provenance, "load", load)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["--method=no-crop", "--crop-policy=mask"], "mask needs a crop, and no-crop"),
        (["--method=no-crop", "--gate=x"], "a gate needs a crop, and no-crop shows"),
        (
            ["--method=center-crop", "--crop-policy=union"],
            "union needs a map, as of rel-att; cent",
        ),
        (
            ["--boxes-from=x", "--crop-policy=top-k"],
            "top-k needs a map, as of rel-att; boxes_from",
        ),
        (
            ["--method=full-twice", "--gate=x", "--gate-feature=map-entropy"],
            "a gate by map-entropy needs a map, as of rel-att; full-twice makes none",
        ),
        (["--crop-policy=zoom"], "unknown crop policy 'zoom'; known: single, funnel"),
        (["--gate-feature=mood"], "unknown gate_feature 'mood'; known: probability"),
        (["--gate-alpha=1"], "gate_alpha is 1.0: Input should be less than 1"),
        (["--gate=nowhere"], "holds no finished run to calibrate on; give the folder"),
    ],
)
@pytest.mark.usefixtures("no_model")
def test_policy_or_gate_that_fits_nothing_is_refused_before_a_model_loads(
    vicrop, data, asked, told
):
    status, out, err = vicrop("run", "--dataset", data, *FEW, *asked)
    assert (status, out) == (2, "") and err.count("\n") == 1 and told in err


def test_gate_of_another_method_or_of_what_is_judged_is_refused(
    vicrop, data, validation, request
):
    other, run = validation
    request.getfixturevalue("no_model")

    def refused(folder, *asked):
        status, _, err = vicrop("run", "--dataset", folder, *FEW, *asked)
        assert status == 2 and err.count("\n") == 1
        return err

    gate = ("--gate", run.folder)
    said = refused(data, *gate, "--method", "raw-att")
    assert "the gate's run has method 'rel-att', this run 'raw-att'" in said
    assert "has crop_policy 'single'" in refused(data, *gate, "--crop-policy", "mask")
    assert f"calibrated on {other}, which this run is judged" in refused(other, *gate)
    copied = shutil.copytree(other, other.parent / "copied")
    assert "which this run is judged by" in refused(copied, *gate)
    said = refused(data, *gate, "--gate-alpha", "0.05")
    assert "needs 19 calibration samples that a crop repaired, got 9" in said


def test_another_runs_boxes_are_shown_as_the_policy_says(data):
    def go(**changes):
        config = RunConfig(dataset=str(data), max_new_tokens=2, **changes)
        return loop.run(config, progress=False)

    usual, masked = go(), go(crop_policy="mask")
    again = go(crop_policy="mask", boxes_from=str(usual.folder))
    pairs = zip(masked.records(), again.records(), strict=True)
    assert all((a.answer, a.box) == (b.answer, b.box) for a, b in pairs)


def test_question_of_unknown_words_is_answered_with_a_crop(vicrop, drawn):
    image = drawn / "images" / "0.png"
    for method in ("rel-att", "word-att"):
        status, out, _ = vicrop("answer", image, "zq xyzzy", "--method", method)
        assert status == 0 and "with the crop" in out


def test_answer_shows_every_crop_of_a_policy_or_says_why_not(vicrop, drawn):
    asked = ("answer", drawn / "images" / "0.png", "what digit?", "--crop-policy")
    status, out, _ = vicrop(*asked, "funnel", "--crops", "1")
    assert status == 0 and "with the crop (" in out and "), (" in out
    for policy, told in (
        ("swapped", "another question's crop"),
        ("same-tokens", "full-twice is its kin"),
        ("top-k", "99 crops are asked for, but"),
    ):
        status, _, err = vicrop(*asked, policy, "--crops", "99")
        assert status == 2 and told in err and err.count("\n") == 1
