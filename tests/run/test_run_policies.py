"""Crop policies and gates over a data set, from the command line."""

import json
import shutil

import pytest

from vicrop import boxes, methods
from vicrop.gate import Gate
from vicrop.run import batches, datasets, loop
from vicrop.run.folder import RunFolder
from vicrop.run.records import RunConfig, Sample

pytestmark = pytest.mark.usefixtures("random_weights", "results_folder")
FEW = ("--max-new-tokens", "2")


@pytest.fixture
def data(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "data")


def config(data, **changes):
    return RunConfig(dataset=str(data), max_new_tokens=2, **changes)


def go(data, **changes):
    return loop.run(config(data, **changes), progress=False)


WORKING = [key for key in methods.POLICIES if key != "same-tokens"]


def test_every_policy_runs_in_batches_as_one_by_one(vicrop, data, monkeypatch):
    """Records of the same bytes; what is changed of a crop has the crop's box."""
    seen = {}
    for policy in WORKING:
        chosen = ("--crop-policy", policy, "--crops", "3")
        status, out, _ = vicrop("run", "--dataset", data, *FEW, *chosen)
        assert status == 0
        made = RunFolder.of(config(data, crop_policy=policy, crops=3))
        assert str(made.records_file) in out
        seen[policy] = list(made.records())
    usual = [record.box for record in seen["single"]]
    for policy in ("mask", "blank", "shuffled", "alone", "first"):
        assert [record.box for record in seen[policy]] == usual
    assert {len(record.further) for record in seen["funnel"]} == {2}
    assert {len(record.further) for record in seen["top-k"]} == {2}
    assert max(len(record.further) for record in seen["components"]) > 0
    for policy, records in seen.items():
        for record in records:
            assert record.features.keys() == set(methods.FEATURES), policy
            sample = next(s for s in datasets.load(str(data)) if s.id == record.id)
            crops = (record.box, *record.further)
            covered = max(boxes.coverage(crop, sample.boxes[0]) for crop in crops)
            assert record.coverage == pytest.approx(covered, abs=1e-6)
    monkeypatch.setenv("VICROP_RESULTS", str(data / "batched"))
    for policy in WORKING:
        again = go(data, crop_policy=policy, crops=3, batch_size=3)
        assert list(again.records()) == seen[policy], policy
        assert again.meta()["notes"] == []


def test_same_tokens_of_a_model_of_one_size_is_each_samples_error(vicrop, data):
    status, _, err = vicrop(
        "run", "--dataset", data, *FEW, "--crop-policy", "same-tokens"
    )
    assert status == 1 and "full-twice is its kin" in err


# Swapped crops.


def test_swapped_shows_the_next_questions_crop(data):
    usual = {record.id: record for record in go(data).records()}
    for record in go(data, crop_policy="swapped").records():
        number, kind = record.id.split("-")
        other = usual[f"{number}-{'color' if kind == 'read' else 'read'}"]
        assert record.box == other.box and record.plain == usual[record.id].plain
    shown = go(data, method="human-crop-tight", crop_policy="swapped")
    assert {record.coverage for record in shown.records()} == {0.0}


def test_swapped_takes_another_runs_boxes_of_the_other_question(data):
    usual = go(data)
    swapped = {
        record.id: record.box for record in go(data, crop_policy="swapped").records()
    }
    again = go(data, crop_policy="swapped", boxes_from=str(usual.folder))
    assert {record.id: record.box for record in again.records()} == swapped


def test_question_without_another_has_nothing_to_swap(data):
    rows = json.loads((data / "data.json").read_text())
    rows[1]["boxes"] = rows[0]["boxes"]  # about the same thing
    del rows[3]
    (data / "data.json").write_text(json.dumps(rows))
    for size in (1, 2):
        made = go(data, crop_policy="swapped", batch_size=size)
        told = {record.id: record.error for record in loop.failures(made)}
        assert told.keys() == {"0-read", "0-color", "1-read"}
        assert "no other question about 1.png than sample 1-read" in told["1-read"]
        shutil.rmtree(made.folder)


def test_next_question_goes_round_and_needs_no_boxes(write_data, row):
    rows = [row(id=name, image_path="0.png") for name in "abc"]
    samples = [Sample(**one) for one in rows]
    folder = str(write_data(rows))
    about = RunConfig(dataset=folder, crop_policy="swapped")
    assert [batches.asked_about(one, about).id for one in samples] == ["b", "c", "a"]
    usual = RunConfig(dataset=folder)
    assert [batches.asked_about(one, usual) for one in samples] == samples


# Gates.


@pytest.fixture
def half_open(monkeypatch):
    """Lets the gate's threshold be a value that about half of these records exceed."""

    def let(records, feature):
        middle = sorted(record.features[feature] for record in records)[3]
        monkeypatch.setattr(RunFolder, "gate", lambda *_: Gate(feature, middle))
        batches._gate.cache_clear()
        return middle

    yield let
    batches._gate.cache_clear()


def test_gate_is_what_the_repaired_records_say(validation):
    _, run = validation
    for feature in methods.FEATURES:
        assert run.gate(feature, 0.1) == Gate(feature, 0.09)
        assert run.gate(feature, 0.5) == Gate(feature, 0.05)


@pytest.mark.parametrize("feature", methods.FEATURES)
def test_gate_crops_where_its_feature_is_low(
    vicrop, data, validation, half_open, feature
):
    """Told by the run's name or its folder."""
    _, run = validation
    usual = {record.id: record for record in go(data).records()}
    middle, told = half_open(usual.values(), feature), set()
    for alpha, named in ((0.1, run.name), (0.5, run.folder)):
        asked = ("--gate-feature", feature, "--gate-alpha", alpha, "--gate", named)
        status, _, err = vicrop("run", "--dataset", data, *FEW, *asked)
        assert status == 0, err
        how = {"gate": str(run.folder), "gate_feature": feature, "gate_alpha": alpha}
        for record in RunFolder.of(config(data, **how)).records():
            before = usual[record.id]
            kept = before.features[feature] > middle
            told.add(kept)
            assert record.gated == kept
            assert record.answer == (before.plain if kept else before.answer)
            assert record.box == (None if kept else before.box)
    assert told == {True, False}


@pytest.mark.parametrize("feature", ["margin", "map-spread"])
def test_gated_run_is_the_same_in_batches_and_in_shards(
    vicrop, data, validation, half_open, feature
):
    _, run = validation
    half_open(list(go(data).records()), feature)
    how = {"gate": str(run.folder), "gate_feature": feature}
    made = go(data, **how)
    one = made.records_file.read_text()
    shutil.rmtree(made.folder)
    assert go(data, **how, batch_size=3).records_file.read_text() == one
    shutil.rmtree(made.folder)
    for shard in (0, 1):
        go(data, **how, shard=shard, shards=2)
    asked = ("--shards=2", f"--gate={run.name}", f"--gate-feature={feature}")
    assert vicrop("merge", "--dataset", data, *FEW, *asked)[0] == 0
    assert made.records_file.read_text() == one


def test_closed_gate_by_the_answer_spends_no_pass_on_maps(
    data, validation, monkeypatch
):
    _, run = validation
    plain = go(data, method="no-crop").meta()["passes"]
    monkeypatch.setattr(batches, "gate_of", lambda _: Gate("margin", -1.0))
    for size in (1, 2):
        made = go(data, gate=str(run.folder), batch_size=size)
        assert all(record.gated for record in made.records())
        assert made.meta()["passes"] <= plain
        shutil.rmtree(made.folder)


def test_gate_of_a_gated_run_is_refused(data, validation, monkeypatch):
    other, run = validation
    gated = go(data, gate=str(run.folder))
    with pytest.raises(
        ValueError, match=r"the gate's run has gate '.*', this run None"
    ):
        go(other, gate=str(gated.folder))


def test_names_of_runs_without_policy_or_gate_are_as_before():
    assert RunConfig(crop_policy="single").run_id == "tiny-llava__rel-att__plates"
    named = RunConfig(crop_policy="top-k", crops=3, gate="runs/a", gate_alpha=0.2)
    assert named.run_id == (
        "tiny-llava__rel-att__plates__top-k__crops3__gate-of-a__alpha0.2"
    )


def test_unfinished_run_goes_on_with_its_policy(data):
    whole = go(data, crop_policy="funnel")
    text = whole.records_file.read_text()
    whole.records_file.write_text("".join(text.splitlines(True)[:3]))
    assert go(data, crop_policy="funnel").records_file.read_text() == text
