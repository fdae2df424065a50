import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from vicrop import adapters, geometry, paths
from vicrop.run.folder import RunFolder
from vicrop.run.records import RunConfig
from vicrop.view import GEOMETRIES, View

pytestmark = pytest.mark.usefixtures("random_weights", "results_folder")

QUESTION = "what digit is on the red plate?"


@pytest.fixture
def photo(picture, tmp_path):
    """In a folder of drawn pictures, which tiny models have learnt to read."""
    file = tmp_path / "plates" / "photo.png"
    file.parent.mkdir()
    picture.save(file)
    return file


@pytest.fixture
def data(write_data, row, picture):
    rows = [row(boxes=[[100, 100, 160, 160]]), row(id="b", image_path="empty.png")]
    folder = write_data(rows, [picture])
    (folder / "images" / "empty.png").touch()
    return folder


def test_answer_says_both_answers_and_the_crop(vicrop, photo):
    status, out, err = vicrop("answer", photo, QUESTION)
    assert (status, err) == (0, "")
    plain, cropped = out.splitlines()
    assert plain.startswith("without a crop: ")
    assert re.match(r"with the crop \(\d+, \d+, \d+, \d+\): ", cropped)


def test_answer_without_a_crop_is_one_line(vicrop, photo):
    status, out, _ = vicrop("answer", photo, QUESTION, "--method", "no-crop")
    assert status == 0 and len(out.splitlines()) == 1


def test_answer_draws_its_figure(vicrop, photo, tmp_path):
    figure = tmp_path / "figure.png"
    status, out, _ = vicrop("answer", photo, QUESTION, "--save-figure", figure)
    assert status == 0 and str(figure) in out
    with Image.open(figure) as drawn:
        assert drawn.width > 500


def bad_calls(photo, folder):
    text = folder / "text.png"
    text.write_text("no picture")
    torn = folder / "torn"
    torn.mkdir()
    (torn / "data.json").write_text('[{"id": ')
    return {
        "missing image": ["answer", "nowhere.png", QUESTION],
        "text as image": ["answer", text, QUESTION],
        "empty question": ["answer", photo, " "],
        "unknown model": ["answer", photo, QUESTION, "--model", "lava"],
        "unknown method": ["answer", photo, QUESTION, "--method", "look"],
        "unknown family": ["answer", photo, QUESTION, "--model=./a", "--family=blip"],
        "unknown dtype": ["answer", photo, QUESTION, "--dtype", "int4"],
        "unknown device": ["answer", photo, QUESTION, "--device", "toaster"],
        "control that needs a box": ["answer", photo, QUESTION, "--method=human-crop"],
        "figure into no folder": ["answer", photo, QUESTION, "--save-figure=/no/a.png"],
        "unknown option": ["answer", photo, QUESTION, "--option", "max_pixels=9"],
        "option without a number": ["run", "--option", "max_pixels"],
        "unknown dataset": ["run", "--dataset", "platez"],
        "torn data": ["run", "--dataset", torn],
        "unknown layer": ["run", "--dataset", torn.parent / "data", "--layer", "9"],
        "folder without records": ["score", folder],
    }


WORDS = {
    "missing image": "no image at nowhere.png",
    "text as image": "text.png is not a readable image",
    "empty question": "the question is empty",
    "unknown model": "unknown model 'lava'",
    "unknown method": "unknown method 'look'",
    "unknown family": "unknown family 'blip'",
    "unknown dtype": "unknown dtype 'int4'",
    "unknown device": "device 'toaster' cannot be used here",
    "control that needs a box": "a human crop needs a ground-truth box",
    "figure into no folder": "/no/a.png",
    "unknown option": "unknown option of family llava 'max_pixels'; known: none",
    "option without a number": "--option 'max_pixels' is not KEY=VALUE",
    "unknown dataset": "unknown dataset 'platez'",
    "torn data": "data.json is not whole JSON",
    "unknown layer": "layer 9 is not one of this model's layers",
    "folder without records": "no records.jsonl in",
}


@pytest.mark.parametrize("case", WORDS)
def test_mistake_is_one_line_on_stderr_and_status_2(
    vicrop, photo, data, tmp_path, case
):
    status, _, err = vicrop(*bad_calls(photo, tmp_path)[case])
    assert status == 2
    assert err.startswith("vicrop: ") and err.count("\n") == 1
    assert WORDS[case] in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["run", "--limit", "-1"], "'--limit'"),
        (["run", "--layer", "two"], "'--layer'"),
        (["run", "--modle", "x"], "No such option"),
        (["answer", "a.png"], "Missing argument"),
        (["look"], "No such command"),
        (["run", "--fit", "stretch"], "'--fit'"),
        (["run", "--geometry", "round"], "'--geometry'"),
        (["answer", "a.png", "?", "--high-res", "maybe"], "'--high-res'"),
    ],
)
def test_wrong_use_of_options_is_explained_with_status_2(vicrop, args, said):
    status, _, err = vicrop(*args)
    assert status == 2
    assert said in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err


def test_run_says_how_many_samples_failed_and_exits_1(vicrop, data):
    status, out, err = vicrop("run", "--dataset", data)
    assert status == 1
    assert "records.jsonl" in out
    assert re.search("failed: b: ValueError: .*empty.png .*an empty file", err)
    assert "1 samples failed" in err
    made = RunFolder.of(RunConfig(dataset=str(data)))
    assert [record.error is None for record in made.records()] == [True, False]


def test_run_without_failures_exits_0_and_can_be_scored(vicrop, write_data, row, photo):
    rows = [row(boxes=[[100, 100, 160, 160]])]
    data = write_data(rows)
    shutil.copy(photo, data / "images" / "0.png")
    status, out, err = vicrop("run", "--dataset", data, "--method", "rel_att")
    assert status == 0 and "failed" not in err
    made = RunFolder.of(RunConfig(dataset=str(data))).folder
    status, out, _ = vicrop("score", made)
    assert status == 0
    assert "fixed" in out and "broken" in out


@pytest.mark.parametrize("how", [["--fit", "pad"], ["--geometry", "upstream"]])
def test_answer_takes_a_fit_and_a_geometry(vicrop, photo, monkeypatch, how):
    asked = watched(monkeypatch, adapters.Adapter.look)
    status, _, err = vicrop("answer", photo, QUESTION, *how)
    assert (status, err) == (0, "")
    assert how[1] in asked[0]


@pytest.mark.parametrize(("asked", "tiles"), [("yes", 1), ("no", 0), ("auto", 0)])
def test_answer_looks_tile_by_tile_if_asked(vicrop, photo, monkeypatch, asked, tiles):
    seen = watched(monkeypatch, View.importance)
    status, _, _ = vicrop("answer", photo, QUESTION, "--high-res", asked)
    assert status == 0
    assert seen[0][1:] == (QUESTION, "rel-att-high" if tiles else "rel-att")


def watched(monkeypatch, method):
    """Positional arguments of each call of a method."""
    calls, owner = [], View if method is View.importance else adapters.Adapter

    def call(*args, **kwargs):
        calls.append((*args, *kwargs.values()))
        return method(*args, **kwargs)

    monkeypatch.setattr(owner, method.__name__, call)
    return calls


def test_options_reach_the_run_and_its_name(vicrop, data):
    args = ["--fit", "pad", "--geometry", "upstream", "--limit", "1"]
    status, out, _ = vicrop("run", "--dataset", data, *args)
    made = RunFolder.of(
        RunConfig(dataset=str(data), limit=1, fit="pad", geometry="upstream")
    )
    assert str(made.records_file) in out and made.records_file.exists()


def test_fits_and_geometries_offered_are_those_there_are():
    fields = RunConfig.model_fields
    names = {
        name: re.findall(r"'([\w-]+)'", str(fields[name].annotation))
        for name in ("fit", "geometry")
    }
    assert set(names["fit"]) == set(geometry.FITS)
    assert set(names["geometry"]) == set(GEOMETRIES)


def test_models_lists_the_registry(vicrop):
    """Every key, whole, within 160 columns."""
    status, out, _ = vicrop("models")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 160 and "…" not in out
    rows = [[cell.strip() for cell in line.split("│")] for line in out.splitlines()]
    table = {row[1]: row[2:-1] for row in rows if len(row) > 2 and row[1]}
    for key, spec in adapters.MODELS.items():
        family, _, grid, layer, licence, weights, here = table[key]
        assert (family, layer, licence) == (
            spec.family,
            str(spec.layer),
            spec.licence,
        )
        assert grid == ("×".join(map(str, spec.grid)) if spec.grid else "?")
        assert here == ("yes" if spec.is_here() else "no")
        source = (
            "this package" if spec.folder else f"{spec.source}, {spec.size_gb:g} GB"
        )
        assert weights == source
        assert (spec.revision or "") in out
    assert table["tiny-llava"][-1] == "yes"
    assert table["llava-1.5-7b"][1] == "7.06 B"
    assert table["tiny-llava"][1] == "1.5 M"
    assert "not pinned to a commit" not in out


def test_no_command_prints_the_help(vicrop):
    status, out, err = vicrop()
    assert "answer" in out + err and "Traceback" not in err
    assert status in (0, 2)


def test_module_runs_from_a_shell(tmp_path):
    """The real thing, once: another process, another folder, a real exit status."""
    made = subprocess.run(
        [sys.executable, "-m", "vicrop.cli", "score", "nowhere"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(shutil.os.getcwd()), "PATH": ""},
        cwd=tmp_path,
    )
    assert made.returncode == 2
    assert made.stdout == ""
    assert made.stderr.startswith("vicrop: no records.jsonl in ")
    assert "results/runs/nowhere; give the folder of a run" in made.stderr
    assert made.stderr.count("\n") == 1


def test_records_file_is_json_lines(vicrop, data):
    vicrop("run", "--dataset", data)
    lines = RunFolder.of(RunConfig(dataset=str(data))).records_file.read_text()
    assert [json.loads(line)["id"] for line in lines.splitlines()] == ["a", "b"]


ALONE = """
import json, sys
for name in "analysis workflow benchmarks papermill nbformat IPython".split():
    sys.modules[name] = None  # an import of it fails
from vicrop import cli
for line in sys.stdin:
    sys.argv = ["vicrop", *json.loads(line)]
    try:
        cli.main()
    except SystemExit as end:
        assert end.code == 0, (line, end.code)
"""


@pytest.mark.slow
def test_every_command_works_without_the_books_packages(
    photo, drawn, results_folder, tmp_path
):
    run = RunFolder.of(RunConfig(dataset=str(drawn), max_new_tokens=2)).folder
    asked = ["--dataset", drawn, "--max-new-tokens", "2"]
    commands = (
        ["answer", photo, QUESTION, "--save-figure", tmp_path / "figure.png"],
        ["run", *asked],
        ["status"],
        ["verify", run],
        ["score", run],
        ["models"],
        ["prep", "--help"],
    )
    made = subprocess.run(
        [sys.executable, "-c", ALONE],
        input="\n".join(json.dumps([*map(str, args)]) for args in commands),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(paths.ROOT)},
    )
    assert (made.returncode, "Traceback" in made.stderr) == (0, False), made.stderr


def test_looking_at_runs_loads_no_torch(results_folder):
    code = (
        "import sys; from vicrop import cli; sys.argv = ['vicrop', 'status']\n"
        "try:\n    cli.main()\nexcept SystemExit:\n"
        "    print({'torch', 'pandas', 'scipy'} & set(sys.modules) or 'light')"
    )
    made = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert made.stdout.endswith("light\n")
