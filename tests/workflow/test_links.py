import math
import re
import shlex
import subprocess
from urllib.parse import unquote, urlsplit

import papermill.cli
import pytest
import yaml
from click.testing import CliRunner
from markdown_it import MarkdownIt

from vicrop import paths
from vicrop.run.records import RunConfig
from workflow import links, pages
from workflow.plans import MATRIX

ADDRESS = "https://github.com/someone/looking-closer"


@pytest.fixture
def citation(tmp_path, monkeypatch):
    """Writes a CITATION.cff with an address, or without one."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)

    def write(address=None):
        said = "title: x\n" + (f"repository-code: {address}\n" if address else "")
        (tmp_path / "CITATION.cff").write_text(said)

    write()
    return write


def sources():
    named = yaml.safe_load(MATRIX.read_text())["embedded"]["pages"]
    return [pages.TEMPLATE, *named]


@pytest.fixture(scope="session")
def tracked():
    """What is in git; a copy of the tree without its history cannot tell."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=paths.ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode or not listed.stdout:
        pytest.skip("not a git repository")
    return set(listed.stdout.splitlines())


@pytest.mark.parametrize("source", sources())
def test_every_target_is_in_git(source, tracked):
    path = links.path_of(source)
    assert path in tracked
    for place, link in links.links(source, ADDRESS).items():
        told = unquote(urlsplit(link).query if place == "Binder" else link)
        assert told.endswith(path)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://github.com/someone/looking-closer", ADDRESS),
        ("https://github.com/someone/looking-closer.git", ADDRESS),
        ("https://name:secret@github.com/someone/looking-closer.git/", ADDRESS),
        ("git@github.com:someone/looking-closer.git", ADDRESS),
        ("ssh://git@github.com/someone/looking-closer", ADDRESS),
        ("https://gitea.example.org/someone/looking-closer", ""),
        ("https://github.com.example.org/someone/looking-closer", ""),
        ("/srv/looking-closer", ""),
    ],
)
def test_a_clones_pages_lead_to_where_it_was_cloned_from(
    citation, tmp_path, address, expected
):
    for command in (["init", "-q"], ["remote", "add", "origin", address]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    assert links.repository() == expected
    citation("https://github.com/another/book")  # what is stated goes first
    assert links.repository() == "https://github.com/another/book"


def test_a_tree_inside_another_repository_has_no_origin(citation, tmp_path):
    outer = tmp_path.parent
    for command in (["init", "-q"], ["remote", "add", "origin", ADDRESS]):
        subprocess.run(["git", "-C", str(outer), *command], check=True)
    assert links.repository() == ""


def test_without_git_there_is_no_origin(citation, tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", "")
    assert links.repository() == ""


def test_without_an_address_there_is_no_link(citation):
    assert links.repository() == ""
    said = links.line("run", {"limit": 3})
    assert said == (
        "**Run this page yourself:** source `notebooks/run.ipynb` · `papermill "
        "notebooks/run.ipynb out.ipynb -k python3 -p limit 3`"
    )


def test_with_an_address_source_binder_and_colab_are_linked(citation):
    citation(f"{ADDRESS}.git")
    assert links.repository() == ADDRESS
    said = links.line("run", {})
    blob = "someone/looking-closer/blob/main/notebooks/run.ipynb"
    assert f"[`notebooks/run.ipynb`](https://github.com/{blob})" in said
    colab = f"[Colab](https://colab.research.google.com/github/{blob})"
    assert said.endswith(f"{colab} (there first `%pip install git+{ADDRESS}`)")
    assert (
        "[Binder](https://mybinder.org/v2/gh/someone/looking-closer/main"
        "?urlpath=lab%2Ftree%2Fnotebooks%2Frun.ipynb)"
    ) in said


def test_binder_installs_the_torch_that_make_does():
    makefile = (paths.ROOT / "Makefile").read_text()
    (torch,) = re.findall(r"^TORCH \?= (\S+)$", makefile, re.M)
    assert f" {torch} " in (paths.ROOT / "postBuild").read_text()


def test_colab_knows_no_other_host():
    found = links.links("run", "https://codeberg.org/someone/book")
    assert list(found) == ["Binder"]
    assert (
        "/v2/git/https%3A%2F%2Fcodeberg.org%2Fsomeone%2Fbook/main?" in found["Binder"]
    )


@pytest.mark.parametrize(
    "address", ["github.com/a/b", '"https://x.org/a) <b>"', "https://github.com", "7"]
)
def test_address_that_is_none_is_refused(citation, address):
    citation(address)
    with pytest.raises(ValueError, match="repository-code in CITATION.cff is "):
        links.repository()


def test_this_repository_has_an_address_or_none():
    assert links.repository() == "" or links.repository().startswith("https://")


PARAMETERS = {
    "model": "tiny-llava",
    "dataset": "../photos of `mine` & <b>yours</b>; rm -rf $HOME",
    "none": None,
    "word": "None",
    "yes": True,
    "count": -3,
    "share": 1e-7,
    "digits": "0123",
    "odd": "nan",
    "empty": "",
    "dash": "--help",
    "lines": "a\n\nb",
    "options": {"max_pixels": 200704, "name": "it's"},
    "list": [1, None, "x"],
}


def test_papermill_reads_the_parameters_back(monkeypatch):
    """The command, cut into words by the shell's rules and read by papermill."""
    seen = {}
    monkeypatch.setattr(
        papermill.cli, "execute_notebook", lambda **given: seen.update(given)
    )
    program, *words = shlex.split(links.command("run", PARAMETERS))
    made = CliRunner().invoke(papermill.cli.papermill, words)
    assert program == "papermill" and made.exit_code == 0, made.output
    assert seen["parameters"] == PARAMETERS
    assert seen["input_path"] == "notebooks/run.ipynb"
    assert seen["kernel_name"] == "python3"


def test_every_field_of_a_run_is_told():
    config = RunConfig(dataset="plates-wide", fit="pad", options={"max_pixels": 3})
    told = shlex.split(links.command("run", pages.of_run(config).parameters))
    assert {"plates-wide", "pad", '{"options": {"max_pixels": 3}}'} <= set(told)


def test_no_parameter_is_markup(citation):
    citation(ADDRESS)
    said = links.line("run", PARAMETERS)
    paragraph, inline, end = MarkdownIt().parse(said)
    kinds = [child.type for child in inline.children]
    assert "html_inline" not in kinds
    assert [c.content for c in inline.children if c.type == "code_inline"] == [
        "notebooks/run.ipynb",
        links.command("run", PARAMETERS),
        f"%pip install git+{ADDRESS}",
    ]


def test_floats_are_told_in_full():
    words = shlex.split(links.command("run", {"x": math.pi}))
    assert float(words[-1]) == math.pi


def test_a_fork_says_once_where_it_is_cited_and_errors_are_reported(citation, tmp_path):
    assert links.slots() == {"DOI": "", "report an error": "", "source": ""}
    citation(ADDRESS)
    with (tmp_path / "CITATION.cff").open("a") as file:
        file.write("doi: 10.5281/zenodo.1\n")
    told = links.slots()
    assert told["DOI"] == "https://doi.org/10.5281/zenodo.1"
    assert told["report an error"] == f"{ADDRESS}/issues"
