import json
import multiprocessing
import os
import re
import shutil
import signal
import time
from unittest.mock import ANY

import pytest
import torch

from vicrop import adapters, boxes
from vicrop.run import datasets, loop, provenance, task
from vicrop.run.folder import RunFolder, Writer
from vicrop.run.loop import failures
from vicrop.run.records import RunConfig

pytestmark = pytest.mark.usefixtures("random_weights", "results_folder")


@pytest.fixture
def folder(drawn, tmp_path):
    """A copy that the test may break."""
    return shutil.copytree(drawn, tmp_path / "data")


@pytest.fixture
def config(folder):
    return RunConfig(dataset=str(folder), max_new_tokens=2)


def change(folder, number, **fields):
    """Change one row of a data set."""
    rows = json.loads((folder / "data.json").read_text())
    rows[number] |= fields
    (folder / "data.json").write_text(json.dumps(rows))


def go(config, vlm=None):
    return loop.run(config, progress=False, vlm=vlm)


def elsewhere(monkeypatch, tmp_path, name):
    """Let the next runs write into another folder."""
    monkeypatch.setenv("VICROP_RESULTS", str(tmp_path / name))


def test_every_sample_has_a_record_in_order(config, folder):
    made = go(config)
    records = list(made.records())
    samples = datasets.load(str(folder))
    assert [record.id for record in records] == [sample.id for sample in samples]
    assert failures(made) == []
    for record, sample in zip(records, samples, strict=True):
        assert record.question == sample.question and record.labels == sample.labels
        assert record.score in (0, 1) and record.plain_score in (0, 1)
        assert record.size == pytest.approx(
            boxes.area(sample.boxes[0]) / (448 * 448), abs=1e-6
        )
        covered = boxes.coverage(record.box, sample.boxes[0])
        assert record.coverage == pytest.approx(covered, abs=1e-6)


def test_records_are_what_the_model_says(config, folder):
    vlm = adapters.load("tiny-llava")
    for record in go(config).records():
        sample = next(s for s in datasets.load(str(folder)) if s.id == record.id)
        view = vlm.look(datasets.image_path(str(folder), sample))
        answer = view.ask(sample.question, crop=record.box, max_new_tokens=2)
        assert (record.plain, record.answer) == (answer.plain, answer.text)


def test_meta_says_how_the_run_was_made(config):
    meta = go(config).meta()
    assert meta["finished"] is True and meta["errors"] == 0
    assert meta["config"] == json.loads(config.model_dump_json())
    assert meta["answered"] == 6
    assert meta["layer"] == adapters.MODELS["tiny-llava"].layer
    assert meta["passes"] > 0 and meta["tokens"] > meta["image_tokens"] > 0
    assert meta["seconds"] > 0 and meta["peak_memory_mb"] > 0
    assert meta["versions"]["torch"] == torch.__version__
    known = config.identity() | {"data": ANY, "weights": ANY}
    assert meta["identity"] == known


@pytest.mark.parametrize("method", ["rel-att", "random-crop"])
def test_two_runs_are_byte_identical(config, monkeypatch, tmp_path, method):
    config = config.model_copy(update={"method": method})
    first = go(config).records_file.read_bytes()
    elsewhere(monkeypatch, tmp_path, "again")
    assert go(config).records_file.read_bytes() == first


def test_finished_run_answers_nothing_again(config, monkeypatch):
    before = go(config)
    data, answered = before.records_file.read_bytes(), before.meta()["answered"]
    monkeypatch.setattr(loop, "answer_one", lambda *_: pytest.fail("answered again"))
    after = go(config)
    assert after.records_file.read_bytes() == data
    assert after.meta()["answered"] == answered


def test_maps_of_the_first_samples_are_kept_in_any_case(config, monkeypatch):
    monkeypatch.setattr(task, "KEPT", 2)
    assert list(go(config).maps()) == ["0-read", "0-color"]
    with pytest.raises(
        ValueError, match="holds 4 records that were made without savin"
    ):
        go(config.model_copy(update={"save_maps": True}))


def test_a_control_that_was_stopped_goes_on_though_it_has_no_maps_to_save(config):
    blind = config.model_copy(update={"method": "center-crop", "save_maps": True})
    file = go(blind).records_file
    lines = file.read_text().splitlines(True)
    file.write_text("".join(lines[:2]))
    made = go(blind)
    assert made.records_file.read_text().splitlines(True) == lines
    assert list(made.maps()) == []


def test_finished_run_is_given_back_without_its_model(config, monkeypatch):
    before = go(config)
    monkeypatch.setattr(provenance, "load", lambda _: pytest.fail("model loaded"))
    assert go(config).records_file == before.records_file
    text = before.records_file.read_text()
    before.records_file.write_text(text[: len(text) // 2])
    with pytest.raises(pytest.fail.Exception, match="model loaded"):
        go(config)


def test_finished_run_of_older_weights_is_held_against_them(config, monkeypatch):
    made = go(config)
    os.utime(made.records_file, (1, 1))
    monkeypatch.setattr(provenance, "load", lambda _: pytest.fail("model loaded"))
    with pytest.raises(pytest.fail.Exception, match="model loaded"):
        go(config)


def test_finished_run_keeps_who_made_it(config):
    made = go(config)
    made.write_meta({**made.meta(), "host": "another"})
    before = made.meta()
    assert go(config).meta() == before


def test_going_on_with_other_versions_is_noted(config):
    made = go(config)
    text = made.records_file.read_text()
    made.records_file.write_text("".join(text.splitlines(keepends=True)[:3]))
    meta = made.meta()
    now = meta["versions"]["torch"]
    made.write_meta({**meta, "versions": {**meta["versions"], "torch": "1.0"}})
    again = go(config)
    assert again.records_file.read_text() == text
    assert again.meta()["notes"] == [f"went on with torch 1.0 → {now}"]


def test_interrupted_run_goes_on_where_it_was(config):
    made = go(config)
    whole = made.records_file.read_bytes()
    lines = whole.splitlines(keepends=True)
    torn = {0: b"{", 1: b"", 3: b'{"id": "1-co', 5: b"\xc3", 6: b"\x00"}
    for kept, rest in torn.items():
        made.records_file.write_bytes(b"".join(lines[:kept]) + rest)
        assert go(config).records_file.read_bytes() == whole


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 and on
def test_killed_run_ends_byte_identical_to_an_undisturbed_one(
    config, monkeypatch, tmp_path
):
    """SIGKILL after different numbers of records, then a last start that finishes."""
    whole = go(config).records_file.read_bytes()
    elsewhere(monkeypatch, tmp_path, "killed")
    made = RunFolder.of(config)
    for records in (1, 2, 4):
        kill_after(records, made, config)
        reached = made.records_file.read_bytes().count(b"\n")
        assert records <= reached < 6
        assert not made.meta().get("finished")
    assert go(config).records_file.read_bytes() == whole
    assert made.meta()["finished"]


def kill_after(records: int, made: RunFolder, config: RunConfig) -> None:
    """Run in a forked process, killed once so many records are on the disk."""

    def slowly():
        append = Writer.append

        def append_and_wait(self, *args):
            append(self, *args)
            time.sleep(0.3)

        Writer.append = append_and_wait
        go(config)

    process = multiprocessing.get_context("fork").Process(target=slowly)
    process.start()
    end = time.monotonic() + 60
    while time.monotonic() < end and process.is_alive():
        file = made.records_file
        if file.exists() and file.read_bytes().count(b"\n") >= records:
            break
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: (f / "images/1.png").unlink(), "FileNotFoundError: sample 1-read"),
        (
            lambda f: (f / "images/1.png").write_text("no picture"),
            "ValueError: .*1.png is not a readable image",
        ),
        (
            lambda f: (f / "images/1.png").write_bytes(
                (f / "images/1.png").read_bytes()[:5000]
            ),
            "ValueError: .*1.png is not a readable image",
        ),
    ],
    ids=["missing", "text", "truncated"],
)
def test_failing_image_is_recorded_and_the_run_goes_on(
    config, folder, break_it, message, monkeypatch
):
    # Once the run has begun: what is missing before is refused.
    monkeypatch.setattr(datasets, "_check_pictures", lambda *_: break_it(folder))
    made = go(config)
    records = list(made.records())
    failed = [record.id for record in failures(made)]
    assert len(records) == 6
    assert failed == ["1-read", "1-color"]
    assert re.match(message, records[2].error)
    assert records[2].answer is None and records[2].score is None
    assert records[4].answer is not None
    assert made.meta()["errors"] == 2


def test_box_outside_its_image_fails_that_sample_alone(config, folder):
    change(folder, 3, boxes=[[0, 0, 460, 20]])
    made = go(config)
    assert [record.id for record in failures(made)] == ["1-color"]
    assert "leaves its picture of 448×448" in failures(made)[0].error


def test_human_crops_leave_out_samples_without_a_box(config, folder):
    change(folder, 0, boxes=[])
    made = go(config.model_copy(update={"method": "human-crop"}))
    assert failures(made) == []
    recorded = {record.id for record in made.records()}
    plain = {record.id for record in go(config).records()}
    assert plain - recorded >= {"0-read"} and recorded < plain


def test_human_crops_of_data_without_boxes_are_refused(config, folder):
    rows = json.loads((folder / "data.json").read_text())
    for number in range(len(rows)):
        change(folder, number, boxes=[])
    with pytest.raises(ValueError, match="needs ground-truth boxes and .* has none"):
        go(config.model_copy(update={"method": "human-crop"}))


def test_crash_inside_the_model_is_one_samples_error(config, monkeypatch):
    from vicrop.view import View

    importance, calls = View.importance, []

    def second_fails(self, *args):
        calls.append(args)
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return importance(self, *args)

    monkeypatch.setattr(View, "importance", second_fails)
    made = go(config)
    assert [record.error for record in failures(made)] == [
        "RuntimeError: out of memory"
    ]
    assert len(list(made.records())) == 6


def test_interrupt_is_not_a_samples_error(config, monkeypatch):
    calls = []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return answer_one(*args)

    answer_one = loop.answer_one
    monkeypatch.setattr(loop, "answer_one", interrupted)
    with pytest.raises(KeyboardInterrupt):
        go(config)
    made = RunFolder.of(config)
    assert [record.error for record in made.records()] == [None, None]


def test_records_of_other_data_are_refused(config, folder):
    go(config)
    change(folder, 0, labels=["other"])
    with pytest.raises(ValueError, match="records made with data [0-9a-f]{12}, not"):
        go(config)


def test_records_of_other_weights_are_refused(config, random_llava, processor):
    go(config)
    other = adapters.wrap(random_llava(seed=1), processor, layer=2)
    with pytest.raises(ValueError, match="made with weights [0-9a-f]{12}, not"):
        loop.run(config, progress=False, vlm=other)


@pytest.mark.parametrize("changes", [{"seed": 1}, {"max_new_tokens": 3}])
def test_records_of_other_parameters_are_refused(config, changes):
    made = RunFolder.of(config)
    made.folder.mkdir(parents=True)
    other = config.model_copy(update=changes)
    made.write_meta({"config": other.model_dump(mode="json"), "identity": {}})
    ((name, value),) = changes.items()
    flag = f"--{name.replace('_', '-')}"
    said = f"made with {flag}={value}, not {flag}={getattr(config, name)}; ask for the"
    with pytest.raises(ValueError, match=said):
        go(config)


def test_the_authors_keys_make_the_same_run(config):
    aliased = go(config.model_copy(update={"method": "rel_att"}))
    assert aliased.folder == RunFolder.of(config).folder
    assert go(config).meta()["answered"] == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "lava"}, "unknown model 'lava'"),
        ({"method": "look"}, "unknown method 'look'"),
        ({"dataset": "platez"}, "unknown dataset 'platez'"),
        ({"dtype": "int4"}, "unknown dtype 'int4'"),
        ({"layer": 9}, "layer 9 is not one of this model's layers"),
        ({"device": "toaster"}, "device 'toaster' cannot be used"),
    ],
)
def test_run_that_cannot_start_leaves_no_folder(
    config, results_folder, changes, message
):
    with pytest.raises(ValueError, match=message):
        go(config.model_copy(update=changes))
    assert not results_folder.exists()


def test_subset_has_its_own_folder_and_the_same_answers(config):
    whole = {record.id: record for record in go(config).records()}
    part = go(config.model_copy(update={"limit": 2}))
    assert part.folder != RunFolder.of(config).folder
    records = list(part.records())
    assert len(records) == 2
    assert all(whole[record.id] == record for record in records)


def test_random_box_depends_on_the_sample_not_on_its_place(config, folder):
    chosen = config.model_copy(update={"method": "random-crop"})
    found = {record.id: record.box for record in go(chosen).records()}
    assert len(set(found.values())) > 1
    part = go(chosen.model_copy(update={"limit": 3}))
    assert all(found[record.id] == record.box for record in part.records())


def test_neighbours_that_share_an_image_share_its_view(config, folder, monkeypatch):
    vlm, looked = adapters.load("tiny-llava"), []
    look = vlm.look
    monkeypatch.setattr(vlm, "look", lambda *args: looked.append(1) or look(*args))
    assert len(list(go(config, vlm=vlm).records())) == 6
    assert len(looked) == 3


def test_image_is_looked_at_once_wherever_its_questions_stand(
    config, folder, monkeypatch
):
    rows = json.loads((folder / "data.json").read_text())
    (folder / "data.json").write_text(json.dumps(rows[::2] + rows[1::2]))
    vlm, looked = adapters.load("tiny-llava"), []
    look = vlm.look
    monkeypatch.setattr(vlm, "look", lambda *args: looked.append(1) or look(*args))
    found = {record.id for record in go(config, vlm=vlm).records()}
    assert found == {row["id"] for row in rows} and len(looked) == 3


TOGETHER = ["no-crop", "rel-att", "grad-att", "random-crop", "human-crop"]


def several(config):
    """The same run with several methods."""
    return [config.model_copy(update={"method": method}) for method in TOGETHER]


def test_runs_made_together_have_the_records_of_runs_made_alone(config, folder):
    change(folder, 2, boxes=[])  # no human crop there
    (folder / "images/1.png").write_text("no picture")
    together = loop.run_together(several(config), progress=False)
    lines = [made.records_file.read_text() for made in together]
    assert [text.count("\n") for text in lines] == [6, 6, 6, 6, 5]
    assert [text.count("ValueError") for text in lines] == [2, 2, 2, 2, 1]
    for one, text in zip(several(config), lines, strict=True):
        shutil.rmtree(RunFolder.of(one).folder)
        assert go(one).records_file.read_text() == text


def test_runs_made_together_look_at_an_image_once(config, folder, monkeypatch):
    vlm, looked = adapters.load("tiny-llava"), []
    look = vlm.look
    monkeypatch.setattr(vlm, "look", lambda *args: looked.append(1) or look(*args))
    made = loop.run_together(several(config), progress=False, vlm=vlm)
    assert len(looked) == 3
    assert [one.meta()["answered"] for one in made] == [6] * 5
    assert all(one.meta()["finished"] for one in made)


def test_runs_made_together_go_on_where_one_was_cut_off(config, folder):
    whole = go(several(config)[1]).records_file
    text = whole.read_text()
    whole.write_text("".join(text.splitlines(keepends=True)[:2]))
    made = loop.run_together(several(config), progress=False)
    assert made[1].records_file.read_text() == text
    assert [len(list(one.records())) for one in made] == [6] * 5


@pytest.mark.parametrize("other", [{"seed": 1}, {"limit": 2}, {"fit": "pad"}])
def test_runs_of_other_parameters_are_not_made_together(config, other):
    changed = config.model_copy(update={"method": "no-crop", **other})
    with pytest.raises(ValueError, match="may differ in their method only"):
        loop.run_together([config, changed], progress=False)


def test_weights_hash_changes_with_one_weight(random_llava, processor):
    vlm = adapters.wrap(random_llava(), processor, layer=2)
    before = provenance.weights_hash(vlm)
    assert before == provenance.weights_hash(vlm)
    with torch.no_grad():
        vlm.model.lm_head.weight[3, 3] += 1
    assert provenance.weights_hash(vlm) != before
