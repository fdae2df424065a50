"""What people bring to runs, their names and their places; rows 1 and 15 to 20."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from vicrop import adapters, paths
from vicrop.run import checks, datasets, folder, loop, progress
from vicrop.run import cli as runcli
from vicrop.run.batches import Looker
from vicrop.run.folder import RunFolder
from vicrop.run.records import LONGEST_NAME, RunConfig
from workflow import clean

pytestmark = pytest.mark.usefixtures("random_weights", "results_folder")


@pytest.fixture
def mine(drawn, tmp_path, monkeypatch):
    """A data set in the working folder."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(drawn, tmp_path / "mine"))


FEW = ("--max-new-tokens", "2")


def go(data, **changes):
    config = RunConfig(dataset=str(data), max_new_tokens=2, **changes)
    return loop.run(config, progress=False)


# Case 1: no sample ends a run.


class Panic(BaseException):
    """As Rust's libraries raise: no Exception."""


WHATEVER = [
    *(SyntaxError("not a TIFF file"), RecursionError("too deep"), Panic("a panic")),
    *(MemoryError(), StopIteration(), AssertionError(), ValueError("name \udcff")),
]


@pytest.mark.parametrize("error", WHATEVER, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("batch_size", [1, 2])
def test_whatever_a_sample_raises_is_that_samples_failure(
    mine, monkeypatch, error, batch_size
):
    """Case 1: an error in looking, and again where its size is to be found."""

    failed = []

    def fail():
        failed.append(True)
        raise error

    look, size = Looker._look, datasets.image_size
    monkeypatch.setattr(
        Looker,
        "_look",
        lambda own, one: fail() if one.image_path == "1.png" else look(own, one),
    )
    monkeypatch.setattr(
        datasets, "image_size", lambda path: fail() if failed else size(path)
    )
    made = list(go(mine, batch_size=batch_size).records())
    wrong = [record.error is not None for record in made]
    assert wrong == [False, False, True, True, False, False]
    assert made[2].error.startswith(f"{type(error).__name__}: ")
    assert made[2].size is None and made[0].size is not None


def test_an_unexpected_error_is_never_taken_for_a_whole_run(vicrop, mine, monkeypatch):
    """Case 1: it has an exit status of its own, and shows where it happened."""
    monkeypatch.setattr(loop, "run_together", lambda *a, **k: 1 / 0)
    status, _, err = vicrop("run", "--dataset", mine)
    assert status == runcli.UNEXPECTED == 70
    assert "ZeroDivisionError" in err and err.endswith("please report it\n")


def test_a_torch_error_is_no_refusal(vicrop, mine, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("The size of tensor a (124) must match")

    monkeypatch.setattr(loop, "run_together", fail)
    assert vicrop("run", "--dataset", mine)[0] == 70


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA …")])
def test_a_model_that_is_too_large_is_refused_in_a_line(
    vicrop, mine, monkeypatch, error
):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(adapters, "load", fail)
    status, _, err = vicrop("run", "--dataset", mine)
    assert status == 2 and "take --dtype bfloat16 or a smaller model" in err


def test_boxes_of_one_run_are_one_run_however_its_folder_is_spelt(mine):
    names = ("mine", "./mine/", str(mine))
    assert len({RunConfig(boxes_from=name).boxes_from for name in names}) == 1


def test_output_that_nobody_reads_is_not_taken_for_failed_samples(
    vicrop, mine, monkeypatch
):
    def fail(*args, **kwargs):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(loop, "run_together", fail)
    assert vicrop("run", "--dataset", mine)[0] == 75


def test_ctrl_c_before_the_first_sample_is_an_interruption(vicrop, mine, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(adapters, "load", stop)
    status, _, err = vicrop("run", "--dataset", mine)
    assert (status, err) == (75, "vicrop: stopped; run the same again to go on\n")
    assert not paths.runs().exists()


def test_the_workflow_takes_no_other_failure_for_failed_samples(tmp_path, monkeypatch):
    """Case 1: Python ends with status 1 too, where it cannot even begin."""
    monkeypatch.chdir(tmp_path)
    text = (paths.ROOT / "workflow" / "Snakefile").read_text("utf-8")
    found = re.search(r'FAILED_ALONE = "(.*)"', text)
    assert text.count("{FAILED_ALONE} {log}") == 2

    def trusted(status, log):
        line = f"(exit {status}) || {{ {found[1]} {log}; }} && echo trusted"
        said = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
        return said.stdout == "trusted\n"

    def log(text):
        Path("log").write_text(text)
        return "log"

    failed = "failed: a: ValueError: x\n2 samples failed; see their `error`, or …\n"
    assert trusted(0, log("")) and trusted(1, log(failed))
    broken = log("ModuleNotFoundError: No module named 'torch'\n")
    assert not trusted(1, broken)
    assert not any(trusted(status, log(failed)) for status in (2, 70, 75, 137))


# Case 15: one data set, one run.


def test_one_data_set_is_one_run_however_it_is_spelt(mine):
    """Case 15: a folder, with a slash, with a dot, from the root on, its data.json."""
    spelt = ("mine", "mine/", "./mine", "../" + mine.parent.name + "/mine", str(mine))
    spelt += ("mine/data.json",)
    names = {RunConfig(dataset=name).run_id for name in spelt}
    assert len(names) == 1
    assert re.fullmatch(r"tiny-llava__rel-att__mine-[0-9a-f]{6}", names.pop())


def test_two_data_sets_of_one_name_are_two_runs(mine):
    other = shutil.copytree(mine, mine.parent / "other" / "mine")
    ids = {RunConfig(dataset=str(folder)).run_id for folder in (mine, other)}
    assert len(ids) == 2


def test_the_folder_of_a_keys_data_is_that_key(mine, monkeypatch):
    """Else it was scored by exact match, whatever its own metric."""
    monkeypatch.setenv("VICROP_DATA", str(mine.parent))
    shutil.move(mine, "textvqa")
    assert RunConfig(dataset="textvqa/").dataset == "textvqa"
    assert RunConfig(dataset=str(mine.parent / "textvqa")).dataset == "textvqa"


def test_a_registered_hub_id_is_its_key():
    spelt = ("llava", "llava-1.5-7b", "llava-hf/llava-1.5-7b-hf")
    assert {RunConfig(model=name).model for name in spelt} == {"llava-1.5-7b"}


def test_a_local_model_is_one_run_however_it_is_spelt(saved_weights, monkeypatch):
    monkeypatch.chdir(saved_weights)
    names = ("./tiny-llava", "./tiny-llava/", str(saved_weights / "tiny-llava"))
    (made,) = {RunConfig(model=name).run_id for name in names}
    assert re.fullmatch(r"tiny-llava-[0-9a-f]{6}__rel-att__plates", made)
    assert RunConfig(model="tiny-llava").run_id == "tiny-llava__rel-att__plates"


def test_a_method_asked_twice_in_two_spellings_is_one_run(vicrop, mine):
    """Case 19: ``rel_att`` is the authors' ``rel-att``; two writers would collide."""
    both = ("--method", "rel-att", "--method", "rel_att")
    status, out, err = vicrop("run", "--dataset", mine, *both, *FEW)
    assert (status, out.count("records: ")) == (0, 1), err


@pytest.mark.parametrize("name", ["x" * 250, "ü" * 120, "名" * 80, "a b$(rm)'\"{x}"])
def test_a_runs_name_fits_a_file_system_and_a_shell(tmp_path, name):
    """Case 15: 255 bytes at most; no letter that a shell or Snakemake would read."""
    (tmp_path / name).mkdir()
    config = RunConfig(model=str(tmp_path / name), dataset=str(tmp_path / name), seed=7)
    assert len(config.run_id.encode()) <= LONGEST_NAME
    assert re.fullmatch(r"[\w.-]+", config.run_id)
    assert config.run_id != config.model_copy(update={"seed": 8}).run_id


# Case 16: names and refusals.


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seed": 1}, "s1"),
        ({"dtype": "bfloat16"}, "bfloat16"),
        ({"max_new_tokens": 7}, "tokens7"),
        ({"layer": 0}, "layer0"),
        ({"fit": "pad"}, "pad"),
    ],
)
def test_what_is_not_default_makes_a_run_of_its_own(changes, told):
    """Case 16: three seeds, two dtypes, … side by side."""
    assert RunConfig(**changes).run_id == f"tiny-llava__rel-att__plates__{told}"


def test_a_refusal_names_the_field_both_values_and_comes_before_the_model(
    mine, monkeypatch
):
    """Case 16: a folder of before, when names told less."""
    made = go(mine, seed=1)
    shutil.move(made.folder, RunFolder.of(RunConfig(dataset=str(mine))).folder)
    monkeypatch.setattr(adapters, "load", lambda *a, **k: pytest.fail("loaded"))
    said = "made with --seed=1, not --seed=0; --max-new-tokens=2, not --max-n"
    with pytest.raises(ValueError, match=said):
        loop.run(RunConfig(dataset=str(mine)), progress=False)


def test_a_shard_is_refused_before_it_computes_what_cannot_be_merged(mine, monkeypatch):
    """Case 16: the whole's folder has other data, which only the merge told."""
    go(mine)
    file = mine / "data.json"
    file.write_text(file.read_text().replace("plate", "dish"))
    monkeypatch.setattr(adapters, "load", lambda *a, **k: pytest.fail("loaded"))
    with pytest.raises(ValueError, match=r"made with data [0-9a-f]{12}, not"):
        go(mine, shards=2)


def test_a_run_that_was_renamed_is_still_well(mine):
    """Case 16: its name says nothing that its meta.json does not."""
    made = go(mine)
    moved = RunFolder(shutil.move(made.folder, made.folder.parent / "for the paper"))
    assert list(checks.verify(moved)) == []
    assert checks.status(moved).state == "finished"


def test_a_run_goes_on_where_another_device_made_its_first_part(mine):
    made = go(mine)
    meta = made.meta()
    meta["config"]["device"] = "cuda:1"
    made.write_meta(meta | {"finished": False})
    assert go(mine).meta()["notes"] == ["went on with device cuda:1 → cpu"]


def test_records_of_the_first_volume_go_on(mine):
    """Their identity was a digest, their records named no picture."""
    made = go(mine)
    meta, lines = made.meta(), made.records_file.read_text().splitlines(True)
    known = {"parameters": "0" * 64, "data": meta["identity"]["data"]}
    known["weights"] = meta["identity"]["weights"]
    del meta["config"]["family"]
    made.write_meta(meta | {"identity": known, "finished": False})
    made.records_file.write_text("".join(lines[:3]))
    assert go(mine).records_file.read_text() == "".join(lines)


def test_boxes_from_nowhere_are_refused_before_the_work(vicrop, mine):
    status, _, err = vicrop("run", "--dataset", mine, "--boxes-from", "nowhere")
    assert (
        status == 2 and "nowhere', which holds no records.jsonl with boxes; give" in err
    )
    assert not paths.runs().exists()


# Case 17: places.


def test_clean_keeps_what_the_book_cannot_make_again(tmp_path):
    """Case 17: three days of a GPU lie beside the embedded runs."""
    results, executed = tmp_path / "results", tmp_path / "executed"
    days, again = "llava-1.5-7b__rel-att__textvqa", "tiny-llava__rel-att__plates"
    group = "tiny-llava__all__plates"
    kept = [
        results / "runs" / days / "records.jsonl",
        results / "work" / "llava-1.5-7b__all__textvqa" / "whole.done",
        results / "pages" / "runs" / f"{days}.ipynb",
        executed / "runs" / f"{days}.ipynb",
        results / "scores" / "scores.csv",
    ]
    gone = [
        results / "runs" / again / "records.jsonl",
        results / "work" / group / "whole.done",
        results / "work" / "due" / "quick_start",
        results / "work" / "pages-embedded.done",
        results / "logs" / group / "0-of-1.log",
        results / "pages" / "quick_start.ipynb",
        executed / "quick_start.ipynb",
        executed / "runs" / f"{again}.ipynb",
    ]
    for file in kept + gone:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert clean.clean(results, executed, clean.names()) == [results / "runs" / days]
    assert all(file.exists() for file in kept)
    assert not any(file.exists() for file in gone)


def test_clean_removes_all_where_all_can_be_made_again(tmp_path):
    run = tmp_path / "results" / "runs" / "tiny-llava__rel-att__plates"
    run.mkdir(parents=True)
    (tmp_path / "executed").mkdir()
    assert clean.clean(tmp_path / "results", tmp_path / "executed", clean.names()) == []
    assert list(tmp_path.iterdir()) == []


def test_places_are_told_with_their_reason(vicrop, monkeypatch, tmp_path):
    """Case 17: where data, runs and weights are, and why."""
    monkeypatch.setenv("VICROP_DATA", str(tmp_path / "d"))
    monkeypatch.delenv("VICROP_RESULTS")
    status, out, _ = vicrop("paths")
    told = re.sub(r"\W+", " ", out)
    assert status == 0 and "VICROP_DATA says so" in told
    assert "in this clone VICROP_RESULTS names another" in told
    assert str(paths.runs()) in out and str(paths.WEIGHTS) in out


def test_an_empty_variable_names_no_folder(monkeypatch):
    monkeypatch.setenv("VICROP_RESULTS", "")
    assert paths.results() == paths.ROOT / "book" / "results"


def test_runs_are_named_as_status_prints_them_or_all_are_meant(vicrop, mine):
    assert vicrop("score")[0] == vicrop("verify")[0] == 2
    made = go(mine, method="no-crop")
    for verb in ("verify", "score"):
        for given in ((), (made.name,), (made.folder,)):
            status, out, _ = vicrop(verb, *given)
            assert status == 0 and made.name in out.replace("\n", "")
        status, _, err = vicrop(verb, "nowhere")
        assert status == 2 and "nowhere" in err


# Case 18: what is said of a run counts all of it.


def test_the_last_line_counts_answers_of_before_too(mine, monkeypatch, capsys):
    """Case 18: after a stop, after a retry, and where nothing was left to do."""
    monkeypatch.setattr(progress, "LOG_SECONDS", 1e9)
    config = RunConfig(dataset=str(mine), max_new_tokens=2)

    def last_line():
        return capsys.readouterr().err.splitlines()[-1]

    made = loop.run(config)
    whole = re.search(r"6/6, (.*?); 0 errors", last_line())[1]
    lines = made.records_file.read_text().splitlines(True)
    made.records_file.write_text("".join(lines[:2]))
    loop.run(config)
    assert f"6/6, {whole}; 0 errors" in last_line()
    loop.run(config)
    assert f"6/6, {whole}; 0 errors" in last_line()


def test_a_merge_says_that_samples_failed(vicrop, mine):
    """Case 18: with the exit status of a run that has such."""
    (mine / "images" / "1.png").write_bytes(b"no picture")
    asked = ("--dataset", mine, "--method", "no-crop", *FEW, "--shards", "2")
    statuses = [vicrop("run", *asked, "--shard", n)[0] for n in (0, 1)]
    assert max(statuses) == 1
    status, out, err = vicrop("merge", *asked)
    assert status == 1 and "records: " in out
    assert "2 samples failed; see their `error`" in err
    made = RunFolder.of(
        RunConfig(dataset=str(mine), method="no-crop", max_new_tokens=2)
    )
    status, out, _ = vicrop("verify", made.folder)
    assert (status, out) == (1, f"{made.name}: 6 records, 2 of them failed samples\n")


# Case 19: who is at a run.


def test_a_refused_command_leaves_no_name_behind(mine):
    """Case 19: the next one is not told that somebody "did not end by itself"."""
    made = go(mine)
    file = mine / "data.json"
    before = file.read_text()
    file.write_text(before.replace("plate", "dish"))
    with pytest.raises(ValueError, match="holds records made with data"):
        go(mine)
    file.write_text(before)
    made.records_file.write_text("")
    assert go(mine).meta()["notes"] == []


@pytest.mark.slow
def test_ctrl_c_and_the_same_again_note_nothing(mine, results_folder):
    """Case 19: a clean stop is no fault; the last line is of all."""
    rows = json.loads((mine / "data.json").read_text())
    many = [row | {"id": f"{n}-{row['id']}"} for n in range(20) for row in rows]
    (mine / "data.json").write_text(json.dumps(many))
    command = [sys.executable, "-m", "vicrop.cli", "run", "--dataset", "mine", *FEW]
    env = {**os.environ, "PYTHONPATH": str(paths.ROOT)}
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    made = RunFolder.of(RunConfig(dataset="mine", max_new_tokens=2))
    while not (made.records_file.exists() and made.records_file.stat().st_size):
        time.sleep(0.05)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75 and "Traceback" not in err
    assert "vicrop: stopped by SIGINT; run the same again to go on" in err
    assert made.meta()["finished"] is False
    assert 0 < made.meta()["answered"] == len(list(made.records())) < 120
    assert checks.status(made).state == "stopped" and checks.status(made).who == ""
    again = subprocess.run(command, env=env, capture_output=True, text=True)
    assert again.returncode == 0 and "120/120, rel-att" in again.stderr
    assert "did not end" not in again.stderr and made.meta()["notes"] == []


def test_no_process_is_shown_at_a_finished_run(mine):
    """Case 19: not even one whose name was left there."""
    made = go(mine)
    (made.folder / folder.OWNER).write_text("{}")
    assert checks.status(made).who == ""
