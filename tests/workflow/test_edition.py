"""Every page says whether its runs are of toys, and which commit it is of."""

import subprocess

import pytest

from vicrop import paths
from vicrop.run.records import RunConfig
from workflow import edition, tables


class Run:
    def __init__(self, model):
        self.model = model

    def config(self):
        return RunConfig(model=self.model)


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ([], "TOY · no runs yet"),
        (["tiny-llava"], "TOY · no 7B run yet · models of 1.5 million"),
        (["tiny-llava", "tiny-instructblip"], "models of 1.5–2.4 million parameters"),
        (["llava-1.5-7b"], "REAL · runs of llava-1.5-7b"),
        (["tiny-llava", "llava-1.5-7b"], "llava-1.5-7b · toy models beside them"),
        (["owner/model"], "REAL · runs of owner/model"),
    ],
)
def test_the_band_is_of_the_runs_that_are_here(monkeypatch, models, said):
    monkeypatch.setattr(tables, "find", lambda: [Run(model) for model in models])
    assert said in edition.band()


def test_the_commit_and_what_was_changed_since(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    assert edition.built() == ""
    (tmp_path / "a").write_text("1")
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "a"], [*who, "commit", "-qm", "one"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    assert edition.built().startswith("commit ") and " of 2" in edition.built()
    (tmp_path / "a").write_text("2")
    assert edition.built().endswith(", changed since")
