"""What an edit makes stale, asked of Snakemake itself in a small copy of the house."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell

import workflow
from vicrop import paths
from workflow.sources import sources_of

RUNS = [
    {"models": ["tiny-llava"], "datasets": {"plates": ["no-crop", "rel-att"]}},
    {"models": ["tiny-llava"], "datasets": {"plates-hd": ["no-crop"]}},
]
PAGES = ["scores", "geometry", "cost", "model_card", "small_details", "status"]
LLAVA, HD = "tiny-llava__all__plates", "tiny-llava__all__plates-hd"
pytestmark = pytest.mark.slow
COPIED = "analysis benchmarks data_prep embedded notebooks vicrop workflow".split()


class House:
    """A copy of the house with its own data, results and matrix."""

    def __init__(self, root: Path, matrix: dict):
        self.root, self.results = root, root / "book" / "results"
        for name in COPIED:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(paths.ROOT / name, root / name, ignore=ignored)
        for name in ("CITATION.cff", "tests/golden/metric_vectors.json"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(paths.ROOT / name, root / name)
        (root / "matrix.yaml").write_text(yaml.safe_dump({"small": matrix}))
        (root / "data" / "plates").mkdir(parents=True)

    def snakemake(self, *args: str) -> subprocess.CompletedProcess:
        """Run the workflow here."""
        settings = ["--config", "size=small", "matrix=matrix.yaml"]
        places = {"VICROP_DATA": "data", "VICROP_RESULTS": "book/results"}
        places = {key: str(self.root / value) for key, value in places.items()}
        command = [sys.executable, "-m", "snakemake", "--nolock", "--cores", "2"]
        return subprocess.run(
            [*command, *args, *settings],
            cwd=self.root,
            env={**os.environ, **places, "PYTHONPATH": str(self.root)},
            capture_output=True,
            text=True,
            timeout=300,
        )

    def pretend(self) -> None:
        """As if all had been made."""
        told = self.snakemake("--summary", "pages").stdout.splitlines()
        for name in (line.split("\t")[0] for line in told[1:]):
            file = self.root / name
            assert file.is_relative_to(self.root)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("made\n")
        assert self.snakemake("--touch", "--forceall", "pages").returncode == 0

    def stale(self) -> tuple[set[str], set[str]]:
        """Pages and groups that are due, and rules that would run besides."""
        done = self.snakemake("-n", "pages")
        assert done.returncode == 0, done.stderr
        self.said = done.stdout + done.stderr
        jobs = re.findall(r"^(?:local)?rule (\w+):\n((?:    .*\n)+)", self.said, re.M)
        names = [re.search(r"name=(\S+)", said) for rule, said in jobs if rule == "due"]
        rules = {rule for rule, _ in jobs} - {"due", "pages"}
        return {name[1] for name in names if name}, rules

    def users(self, module: str) -> set[str]:
        """Pages and groups whose notebooks use a module, and the last page."""
        named = {page: page for page in PAGES} | {LLAVA: "run", HD: "run"}
        return {"status"} | {
            name
            for name, source in named.items()
            if module in sources_of(workflow.notebooks() / f"{source}.ipynb")
        }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    house = House(tmp_path_factory.mktemp("house"), {"runs": RUNS, "pages": PAGES})
    house.pretend()
    return house


@pytest.fixture
def house(made):
    """The house with all made; what a test edits is put back."""
    kept: dict[Path, tuple[bytes, int]] = {}

    def edit(name, change):
        file = made.root / name
        kept[file] = file.read_bytes(), file.stat().st_mtime_ns
        change(file)

    made.edit = edit
    yield made
    for file, (text, time) in kept.items():
        file.write_bytes(text)
        os.utime(file, ns=(time, time))


def append(text):
    return lambda file: file.write_text(file.read_text() + text)


def cell_of(kind, change):
    """Change the last cell of a kind of a notebook."""

    def apply(file):
        book = json.loads(file.read_text())
        change([cell for cell in book["cells"] if cell["cell_type"] == kind][-1])
        file.write_text(json.dumps(book))

    return apply


def test_nothing_is_stale_once_all_is_made(house):
    assert house.stale() == (set(), set())
    house.edit("analysis/paper.py", lambda file: file.touch())
    assert house.stale() == (set(), set())


def test_analysis_is_for_its_pages_and_for_no_run(house):
    uses = {name: sources_of(workflow.notebooks() / f"{name}.ipynb") for name in PAGES}
    measured = sources_of(paths.ROOT / "analysis" / "probes.py")
    own = set(uses["cost"]) - set(uses["scores"]) - set(measured)
    module = min(name for name in own if name.startswith("analysis/"))
    house.edit(module, append("# edited\n"))
    due, rules = house.stale()
    assert due == house.users(module) and {"cost", "status"} <= due
    assert not due & {LLAVA, HD, "scores"} and rules == {"executed", "prose"}


def test_modules_of_the_method_are_for_runs_and_pages_that_import_them(house):
    house.edit("vicrop/pipeline.py", append("# edited\n"))
    due, rules = house.stale()
    assert due == house.users("vicrop/pipeline.py") >= {LLAVA, HD}
    assert rules == {"executed", "prose"}
    assert "reason: Updated input files: vicrop/pipeline.py\n" in house.said


def test_what_is_measured_beside_the_runs_is_measured_again_for_its_pages(house):
    house.edit("analysis/probes.py", append("# edited\n"))
    due, rules = house.stale()
    assert due == house.users("analysis/probes.py") >= {"small_details", "status"}
    assert not due & {LLAVA, HD, "scores"}
    assert rules == {"probes", "executed", "prose"}


def test_words_are_laid_over_and_nothing_is_executed(house):
    words = cell_of("markdown", lambda cell: cell["source"].append(" More."))
    caption = cell_of("code", lambda cell: cell["metadata"].update(caption="More."))
    house.edit("notebooks/run.ipynb", words)
    house.edit("notebooks/geometry.ipynb", caption)
    assert house.stale() == (set(), {"prose"})


def test_code_of_a_notebook_is_for_its_page(house):
    code = cell_of("code", lambda cell: cell["source"].append("\n1"))
    house.edit("notebooks/scores.ipynb", code)
    assert house.stale() == ({"scores", "status"}, {"executed", "prose"})
    assert "'notebooks/scores.ipynb with the code " in house.said


def test_code_of_the_template_is_for_all_runs(house):
    code = cell_of("code", lambda cell: cell["source"].append("\n1"))
    house.edit("notebooks/run.ipynb", code)
    assert house.stale()[0] == {LLAVA, HD, "status"}


def test_other_files_are_for_the_pages_that_read_them(house):
    house.edit("benchmarks/measured.json", append("\n"))
    house.edit("vicrop/adapters/weights/tiny-llava/training.json", append("\n"))
    assert house.stale()[0] == {"cost", "model_card", "status"}


def test_records_are_for_their_run_and_all_pages(house):
    house.edit(f"book/results/work/{HD}/whole.done", append("again\n"))
    assert house.stale()[0] == {HD, *PAGES}


def test_data_are_for_their_runs_and_all_pages(house):
    house.edit("data/plates/prep.json", append("\n"))
    assert house.stale()[0] == {LLAVA, *PAGES}


def test_page_that_was_removed_is_laid_anew(house):
    house.edit("book/executed/scores.ipynb", Path.unlink)
    assert house.stale() == (set(), {"prose"})


def test_kill_between_two_jobs_leaves_nothing_stale(house):
    """A page was found due, and then nothing more was done."""
    house.edit("book/results/work/due/geometry", append("later\n"))
    assert house.stale()[1] == {"executed", "prose"}


def test_failed_page_fails_the_job_and_what_succeeded_is_kept(tmp_path):
    """Two pages of one cell; then the faulty one is mended."""
    house = House(tmp_path, {"pages": ["scores", "geometry"]})

    def write(name, code):
        file = tmp_path / "notebooks" / f"{name}.ipynb"
        page = nbformat.read(file, 4)
        page.cells = [new_markdown_cell("# A page"), new_code_cell(code)]
        nbformat.write(page, file)

    write("scores", "print('good')")
    write("geometry", "raise ValueError('no such crop')")
    said = house.snakemake("--show-failed-logs", "prose")
    assert said.returncode == 1
    assert "failed: geometry: ValueError: no such crop" in said.stdout + said.stderr
    executed, kept = tmp_path / "book" / "executed", house.results / "pages"
    assert (executed / "unfinished" / "geometry.ipynb").exists()
    assert not (executed / "geometry.ipynb").exists()
    before = (kept / "scores.ipynb").stat().st_mtime_ns
    assert (executed / "scores.ipynb").exists()
    write("geometry", "print('mended')")
    said = house.snakemake("prose")
    assert said.returncode == 0, said.stderr
    assert (kept / "scores.ipynb").stat().st_mtime_ns == before
    assert "mended" in (executed / "geometry.ipynb").read_text()
    assert not (executed / "unfinished" / "geometry.ipynb").exists()
