import json

import pytest

from vicrop import paths
from vicrop.run import stats
from vicrop.run.folder import RunFolder
from vicrop.run.records import Record, RunConfig
from workflow import readme

ESTIMATE = {"value": 0.25, "low": 0.125, "high": 0.5, "n": 8}
LOSS = {"value": -0.125, "low": -0.25, "high": 0.0, "n": 7}
NUMBERS = {
    "dataset": "plates",
    "group": "small",
    "models": [
        {
            "model": "m",
            "plain": ESTIMATE,
            "gains": dict.fromkeys(readme.METHODS, ESTIMATE) | {"random-crop": LOSS},
        }
    ],
}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A README with markers, and no numbers yet."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    (tmp_path / "book").mkdir()
    text = f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n"
    (tmp_path / "README.md").write_text(text)
    return tmp_path


def test_readme_shows_the_committed_numbers():
    text = readme.readme_file().read_text(encoding="utf-8")
    assert readme.with_table(text, readme.table(readme.read_numbers())) == text


def test_committed_file_is_as_the_generator_writes_it():
    text = readme.numbers_file().read_text(encoding="utf-8")
    assert readme.as_text(readme.read_numbers()) == text


def test_committed_numbers_are_whole():
    found = readme.read_numbers()
    assert (found["dataset"], found["group"]) == (readme.DATASET, readme.GROUP)
    for model in found["models"]:
        assert tuple(sorted(model["gains"])) == tuple(sorted(readme.METHODS))
        for one in (model["plain"], *model["gains"].values()):
            assert one["low"] <= one["value"] <= one["high"] and one["n"] > 0


def test_table_has_percent_points_and_intervals():
    header, _, row = readme.table(NUMBERS).splitlines()
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert [cell.strip() for cell in header.strip("|").split("|")] == [
        "model",
        "image alone, %",
        *readme.METHODS,
        "n",
    ]
    assert cells[:3] == ["`m`", "25.0 [12.5, 50.0]", "+25.0 [+12.5, +50.0]"]
    assert cells[-2:] == ["−12.5 [−25.0, +0.0]", "7–8"]


def test_only_what_is_between_the_markers_changes():
    text = f"a\n{readme.BEGIN} x {readme.END}\nb\n"
    made = readme.with_table(text, "| t |")
    assert made == f"a\n{readme.BEGIN}\n\n| t |\n\n{readme.END}\nb\n"
    assert readme.with_table(made, "| t |") == made


@pytest.mark.parametrize(
    "text",
    [
        "",
        readme.BEGIN,
        f"{readme.END}{readme.BEGIN}",
        f"{readme.BEGIN}{readme.END}" * 2,
    ],
)
def test_readme_without_its_markers_is_refused(text):
    with pytest.raises(ValueError, match="has not once"):
        readme.with_table(text, "t")


def answered(model, method, right):
    """A finished run on small objects; whether each answer is right."""
    run = RunFolder.of(RunConfig(model=model, method=method, dataset="plates"))
    run.folder.mkdir(parents=True)
    made = [
        Record(
            id=str(n),
            question="?",
            labels=("a",),
            size=0.001,
            plain_score=float(n % 2),
            score=float(good),
        ).line()
        for n, good in enumerate(right)
    ]
    run.records_file.write_text("".join(made))
    config = {"model": model, "method": method, "dataset": "plates"}
    run.write_meta({"config": config, "finished": True})


def test_numbers_are_those_of_the_records(repository, results_folder):
    for method in readme.METHODS:
        answered("tiny-llava", method, [1, 1, 1, 1])
        answered("tiny-instructblip", method, [1, 1, 1, 1])
    answered("tiny-llava", "no-crop", [0, 1, 0, 1])  # the other one has none: left out
    readme.main(from_runs=True)
    found = json.loads((repository / "book" / "numbers.json").read_text())["models"]
    (model,) = found
    assert model["model"] == "tiny-llava"
    accuracy = stats.accuracy([0, 1, 0, 1])
    assert model["plain"]["value"] == 0.5
    assert model["plain"]["low"] == pytest.approx(accuracy.low, abs=1e-6)
    gain = stats.gain([0, 1, 0, 1], [1, 1, 1, 1])
    assert model["gains"]["rel-att"]["value"] == 0.5
    assert model["gains"]["rel-att"]["high"] == pytest.approx(gain.high)
    text = (repository / "README.md").read_text()
    assert "| `tiny-llava` | 50.0 [" in text and "+50.0 [" in text
    assert text.startswith("before\n") and text.endswith("\nafter\n")


def test_without_runs_it_names_the_command(repository, results_folder):
    with pytest.raises(FileNotFoundError, match="`make book` makes them"):
        readme.main(from_runs=True)
