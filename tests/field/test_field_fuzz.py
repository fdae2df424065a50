"""What inputs drawn at random found, and what looking where they point did."""

import io
import json
import os
import shutil
import subprocess
import sys

import pytest
from transformers.utils import logging

from vicrop import adapters, paths
from vicrop.run import scores
from vicrop.run.folder import RunFolder
from vicrop.run.records import RunConfig

pytestmark = pytest.mark.usefixtures("results_folder")

QUESTION = "what digit is on the red plate?"


@pytest.fixture
def data(write_data, row, picture):
    return write_data([row()], [picture])


@pytest.fixture
def made(vicrop, data):
    """The folder of a run of one question."""
    assert vicrop("run", "--dataset", data, "--method", "no-crop")[0] == 0
    return RunFolder.of(RunConfig(dataset=str(data), method="no-crop")).folder


@pytest.fixture
def checkpoint(tmp_path):
    """Makes a model's folder of which one file is another."""

    def make(name, change):
        folder = tmp_path / "model"
        shutil.copytree(paths.WEIGHTS / "tiny-llava", folder, copy_function=os.link)
        text = (folder / name).read_text()
        (folder / name).unlink()
        (folder / name).write_text(json.dumps(change(json.loads(text))))
        return folder

    return make


def test_a_run_in_whose_folder_one_stands_is_called_by_its_name(
    vicrop, made, monkeypatch
):
    """Ours, as case 18: ``verify .`` and ``score .``."""
    monkeypatch.chdir(made)
    assert vicrop("verify", ".")[:2] == (0, f"{made.name}: 1 records, all well\n")
    status, out, _ = vicrop("score", ".")
    assert status == 0 and made.name in out


@pytest.mark.parametrize("text", ["null", "[]", '"finished"', '{"answered": null}'])
def test_meta_that_is_json_of_another_kind_is_broken_not_an_end(vicrop, made, text):
    """Ours, as case 19: what a disk or an editor left of ``meta.json``."""
    (made / "meta.json").write_text(text)
    status, out, err = vicrop("status")
    assert (status, err) == (0, "") and "broken" in out
    for verb in ("verify", "score"):
        status, _, err = vicrop(verb, made)
        assert status == 2 and "meta.json is not as a run writes it" in err


@pytest.mark.parametrize("option", ["--dataset", "--model"])
def test_home_of_nobody_is_no_folder(vicrop, data, option):
    """Ours, as case 15: Python cannot say where it is, and raises RuntimeError."""
    given = {"--dataset": data} | {option: "~nobody-here/there"}
    status, _, err = vicrop("run", *[f"{key}={value}" for key, value in given.items()])
    assert status == 2 and len(err.splitlines()) == 1 and "~nobody-here/there" in err


def test_meta_that_lacks_what_records_depend_on_says_so(vicrop, made):
    """Ours, as case 19: ``verify`` ended in a KeyError."""
    said = json.loads((made / "meta.json").read_text())
    del said["identity"]
    (made / "meta.json").write_text(json.dumps(said))
    status, _, err = vicrop("verify", made)
    assert status == 2 and "meta.json does not say what was run" in err


def test_seed_below_zero_is_refused_before_the_work(vicrop, data, results_folder):
    """Ours, as case 16: every sample of a run failed on it, one by one."""
    given = ("--method", "random-crop", "--seed", "-1")
    assert vicrop("run", "--dataset", data, *given)[0] == 2
    assert not results_folder.exists()


def test_run_that_crops_nothing_gives_no_boxes(vicrop, data, made):
    """Ours, as case 16: every sample failed on it, after it had been looked at."""
    status, _, err = vicrop("run", "--dataset", data, "--boxes-from", made)
    assert status == 2 and "holds no records.jsonl with boxes; give the folder" in err


def test_no_answers_have_no_p(vicrop, data):
    """Ours, as case 26: of failed samples alone, p was said to be 1."""
    (data / "images/0.png").write_text("no picture")
    assert vicrop("run", "--dataset", data)[0] == 1
    run = RunFolder.of(RunConfig(dataset=str(data)))
    (row,) = scores.readable(scores.card(run)).to_dict("records")
    assert (row["n"], row["errors"], row["p"]) == (0, 1, "–")


@pytest.mark.parametrize("option", ["layer", "revision", "name", "self"])
def test_option_of_the_family_that_is_none_is_refused(vicrop, data, option):
    """Ours, as case 21: they were handed to ``load`` as its own arguments."""
    status, _, err = vicrop("run", f"--dataset={data}", f"--option={option}=1")
    assert status == 2 and len(err.splitlines()) == 1 and option in err


def without_crop_height(said):
    said["image_processor"]["crop_size"] = {"shortest_edge": 64}
    return said


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("config.json", lambda said: said | {"architectures": [[]]}),
        ("config.json", lambda said: said | {"image_seq_length": None}),
        ("config.json", lambda said: said | {"tie_word_embeddings": 0}),
        ("config.json", lambda said: said | {"text_config": [1]}),
        ("tokenizer.json", lambda said: said | {"model": None}),
        ("tokenizer.json", lambda said: said.pop("added_tokens") and said),
        ("processor_config.json", lambda said: [said]),
        ("processor_config.json", without_crop_height),
    ],
    ids=[
        "class",
        "null",
        "number",
        "list",
        "no model",
        "no tokens",
        "in a list",
        "no height",
    ],
)
def test_checkpoint_that_is_not_as_it_was_saved_is_refused_in_one_line(
    vicrop, checkpoint, data, file, change
):
    """Ours, as case 23: transformers has no error of its own for such files."""
    folder = checkpoint(file, change)
    picture = data / "images/0.png"
    status, out, err = vicrop("answer", picture, QUESTION, "--model", folder)
    assert (status, out) == (2, "") and len(err.splitlines()) == 1
    assert str(folder) in err


def test_data_that_nobody_may_fetch_is_refused_in_one_line(vicrop, monkeypatch):
    """Ours, as case 17: ``prep`` without a terminal, as in a job."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    status, _, err = vicrop("prep", "textvqa")
    assert (status, err) == (
        2,
        "vicrop: nothing was fetched: add --yes to fetch unasked\n",
    )


def test_panic_of_a_library_is_never_taken_for_a_whole_run(vicrop, monkeypatch):
    """Ours, as case 1: a panic in Rust is no Exception, and ended with status 1."""

    class Panic(BaseException):
        pass

    def panics(*args, **kwargs):
        raise Panic("called `Option::unwrap()` on a `None` value")

    monkeypatch.setattr(adapters.registry, "resolve", panics)
    monkeypatch.setattr("vicrop.run.checks.folders", panics)
    status, _, err = vicrop("status")
    assert status == 70 and err.endswith("this should not happen; please report it\n")


def test_question_that_a_tokenizer_finds_long_is_no_warning(
    vicrop, checkpoint, data, caplog, monkeypatch
):
    """Ours, as case 7: what counts is what the model takes, which we look at."""
    monkeypatch.setattr(logging.get_logger("transformers"), "propagate", True)
    change = {"model_max_length": 2}
    folder = checkpoint("tokenizer_config.json", lambda said: said | change)
    asked = vicrop("answer", data / "images/0.png", QUESTION, "--model", folder)
    assert asked[0] == 0 and caplog.text == ""


@pytest.mark.slow
def test_streams_that_are_closed_end_nothing(tmp_path):
    """Ours, as case 6: a daemon's; the next file opened would have had their number."""
    closed = "exec <&- >&- 2>&-; exec " + f"{sys.executable} -m vicrop.cli models"
    assert subprocess.run(["bash", "-c", closed], cwd=tmp_path).returncode == 0
