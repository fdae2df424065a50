"""Folders of a clone, of an installed package, and those that are asked for."""

import runpy
import shutil

import pytest

from vicrop import paths


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    for name in ("VICROP_DATA", "VICROP_RESULTS"):
        monkeypatch.delenv(name, raising=False)


def test_a_clone_keeps_data_and_results_in_itself(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert paths.data() == paths.ROOT / "data"
    assert paths.runs() == paths.ROOT / "book" / "results" / "runs"


def test_an_installed_package_writes_into_the_working_folder(monkeypatch, tmp_path):
    installed = tmp_path / "site-packages" / "vicrop" / "paths.py"
    installed.parent.mkdir(parents=True)
    shutil.copy(paths.__file__, installed)
    monkeypatch.chdir(tmp_path)
    made = runpy.run_path(str(installed))
    assert made["data"]() == tmp_path / "data"
    assert made["runs"]() == tmp_path / "results" / "runs"


def test_folders_that_are_asked_for_win(monkeypatch, tmp_path):
    monkeypatch.setenv("VICROP_DATA", str(tmp_path / "d"))
    monkeypatch.setenv("VICROP_RESULTS", str(tmp_path / "r"))
    assert paths.data() == tmp_path / "d" and paths.runs() == tmp_path / "r" / "runs"
