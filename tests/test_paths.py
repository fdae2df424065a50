"""Folders of a clone, of an installed package, and those that are asked for."""

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
    monkeypatch.setattr(paths, "ROOT", tmp_path / "site-packages")
    monkeypatch.chdir(tmp_path)
    assert paths.data() == tmp_path / "data"
    assert paths.runs() == tmp_path / "book" / "results" / "runs"


def test_folders_that_are_asked_for_win(monkeypatch, tmp_path):
    monkeypatch.setenv("VICROP_DATA", str(tmp_path / "d"))
    monkeypatch.setenv("VICROP_RESULTS", str(tmp_path / "r"))
    assert paths.data() == tmp_path / "d" and paths.runs() == tmp_path / "r" / "runs"
