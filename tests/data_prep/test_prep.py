import json
import sys

import pytest
from typer.testing import CliRunner

import data_prep
from data_prep import plates
from tests.data_prep.handmade import tree, write_originals
from vicrop import cli
from vicrop.cli import app
from vicrop.run import datasets


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Folder of the data sets."""
    monkeypatch.setenv("VICROP_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def originals(tmp_path):
    boxes = {34602: [10.0, 8.0, 20.0, 4]}
    return write_originals(tmp_path / "originals", 3, boxes=boxes)


def prep(*words, given=None):
    return CliRunner().invoke(app, ["prep", *map(str, words)], input=given)


def works(*words):
    made = prep(*words)
    assert made.exit_code == 0, made.output + repr(made.exception)
    return made.output


def fails(*words):
    """The error, which is one line and one that ``main`` shows as such."""
    made = prep(*words)
    assert isinstance(made.exception, ValueError | FileNotFoundError | RuntimeError)
    assert "\n" not in str(made.exception)
    return str(made.exception), made.output


def test_data_set_is_made_from_a_folder_and_its_counts_are_told(root, originals):
    told = works("textvqa", "--source", originals)
    assert f"textvqa: made: {root}/textvqa" in told
    assert "3 questions, 3 pictures, 1 questions with a box (layout: json)" in told
    assert "the source has 3 questions, published are 5000" in told
    assert "the source has 3 images, published are 3166" in told
    assert "Boxes: 4370 of the 5000 questions" in told
    assert len(datasets.load("textvqa")) == 3


def test_second_time_it_says_that_it_is_there(root, originals):
    works("textvqa", "--source", originals)
    before = tree(root)
    assert "is there already, unchanged" in works("textvqa", "--source", originals)
    assert tree(root) == before


def test_what_is_there_needs_no_originals_any_more(root, originals):
    works("textvqa", "--source", originals)
    before = tree(root)
    assert "is there already, unchanged" in works("textvqa")
    assert tree(root) == before
    _, shown = fails("textvqa", "--limit", 2)  # another one: back to its originals
    assert "TextVQA_0.5.1_val.json" in shown


def test_another_limit_replaces_only_if_asked_to(root, originals):
    works("textvqa", "--source", originals)
    told, _ = fails("textvqa", "--source", originals, "--limit", 2)
    assert "is there already, with other limit; add --replace" in told
    works("textvqa", "--source", originals, "--limit", 2, "--seed", 7, "--replace")
    assert len(datasets.load("textvqa")) == 2
    note = json.loads((root / "textvqa" / "prep.json").read_text())
    assert (note["limit"], note["seed"]) == (2, 7)


def test_originals_in_two_folders_are_joined(root, originals, tmp_path):
    (originals / "train_images").rename(tmp_path / "pictures")
    told, _ = fails("textvqa", "--source", originals)
    assert "no picture train_images/image0.jpg" in told
    works("textvqa", "--source", originals, "--source", tmp_path / "pictures")


def test_folder_given_twice_is_named(root, originals):
    told, _ = fails("textvqa", "--source", originals, "--source", originals)
    assert "is given twice" in told


def test_without_a_source_the_plan_is_shown_and_nothing_fetched_unasked(root):
    told, shown = fails("textvqa")
    assert told == "nothing was fetched: add --yes to fetch unasked"
    for name in ("TextVQA_0.5.1_val.json", "train_val_images.zip", "TextVQA_GT_bbox"):
        assert name in shown
    for word in ("0.02", "7.1", "1.3", "to fetch", "licence: CC BY 4.0"):
        assert word in shown
    assert not root.exists()


def test_mirror_shows_its_own_plan(root):
    _, shown = fails("textvqa", "--mirror")
    assert "lmms-lab/textvqa" in shown and "train_val_images" not in shown


def test_without_a_network_it_is_said_what_to_put_where(root):
    told, _ = fails("textvqa", "--yes")
    assert "no network" in told and f"{root}/originals/textvqa by hand" in told


class Terminal:
    """Takes the place of a module's ``sys``."""

    stdin = stdout = type("Tty", (), {"isatty": lambda self: True})()


def test_answer_no_fetches_nothing(root, monkeypatch):
    from data_prep import cli as prep_cli

    monkeypatch.setattr(prep_cli, "sys", Terminal)
    made = prep("textvqa", given="n\n")
    assert made.exit_code == 1
    assert "fetch these files? [y/N]" in made.output
    assert not root.exists()


def test_data_set_behind_a_registration_says_which_files_to_put_where(root):
    told, _ = fails("docvqa")
    assert "docvqa cannot be fetched" in told
    assert f"put the files into {root}/originals/docvqa and run again" in told
    assert "rrc.cvc.uab.es" in told and "val" in told


def test_scenes_that_are_drawn_have_no_source(root, originals, monkeypatch):
    made = []
    monkeypatch.setattr(plates, "make", lambda key, to: made.append(key) or to / key)
    assert f"plates-val: {root}/plates-val" in works("plates-val")
    assert made == ["plates-val"]
    told, _ = fails("plates", "--source", originals)
    assert "plates is drawn, not made from files" in told


def test_unknown_key_is_named_with_those_known(root):
    told, _ = fails("textvqu")
    assert "unknown data set 'textvqu'; known: " in told and "textvqa" in told


def test_source_and_mirror_at_once_are_refused(root, originals):
    told, _ = fails("textvqa", "--source", originals, "--mirror")
    assert "--source and --mirror" in told


@pytest.mark.parametrize(
    "words", [("--limit", "-1"), ("--seed", "-1"), ("--limit", "x")]
)
def test_number_that_is_none_is_refused(root, originals, words):
    assert prep("textvqa", "--source", originals, *words).exit_code == 2


def test_error_is_one_line_and_status_2(root, tmp_path, monkeypatch, capsys):
    words = ["vicrop", "prep", "textvqa", "--source", str(tmp_path / "nothing")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as e:
        cli.main()
    assert e.value.code == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith(f"vicrop: no folder {tmp_path}/nothing; give")


@pytest.mark.parametrize("key", data_prep.MODULES)
def test_every_data_set_says_its_facts_and_has_a_command_that_makes_it(key):
    facts = data_prep.get(key)
    assert facts.key == key and facts.title and facts.licence and facts.layouts
    assert facts.files or facts.by_hand
    for files in (facts.files, facts.mirror):
        assert len({(file.store, file.name) for file in files}) == len(files)
    assert datasets.MAKERS[key] == f"vicrop prep {key}"
