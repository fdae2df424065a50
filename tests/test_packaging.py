"""The wheel: what lies in it, what it asks for, and that it reads nothing beside it."""

import ast
import re
import sys
import tomllib
import zipfile
from email import message_from_bytes
from functools import cache
from importlib.metadata import packages_distributions

import install
import pytest

from vicrop import paths
from vicrop.adapters import MODELS

PROJECT = tomllib.loads((paths.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
HOUSE = {file.parent.name for file in paths.ROOT.glob("*/__init__.py")} - {"tests"}


def files(*parts):
    """Sources of what the wheel holds."""
    for part in parts:
        yield from sorted((paths.ROOT / part).rglob("*.py"))


SOURCES = [*files("vicrop", "data_prep"), paths.ROOT / "embedded/scenes.py"]


@cache
def imported(file):
    """Dotted names that a file imports, at its top or in its functions."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return frozenset(found)


def name(requirement):
    """Of a distribution, as they are compared."""
    bare = re.match(r"[\w.-]+", requirement)[0]
    return re.sub(r"[-_.]+", "-", bare).lower()


def others(sources):
    """Names of the distributions that files import."""
    top = {one.split(".")[0] for file in sources for one in imported(file)}
    known = packages_distributions()
    return {
        name(one)
        for package in top - set(sys.stdlib_module_names) - HOUSE
        for one in known[package]
    }


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.stem)
def test_nothing_in_the_wheel_imports_what_stays_in_the_clone(file):
    inside = ("vicrop", "data_prep", "embedded.scenes")
    own = {one for one in imported(file) if one.split(".")[0] in HOUSE}
    assert {one for one in own if not one.startswith(inside)} == set()


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.stem)
def test_only_paths_knows_where_the_clone_is(file):
    """A module may read what lies beside it, and nothing above its package."""
    text = file.read_text("utf-8")
    if file.name != "paths.py":
        assert not re.search(r"paths\.(ROOT|executed|notebooks)|\bROOT\b", text)
        assert not re.search(r"__file__\)[^\n]*parents|parent\.parent", text)


def test_wheel_asks_for_what_it_imports_and_for_nothing_else():
    asked = {name(one) for one in PROJECT["dependencies"]}
    assert asked == others(SOURCES)


def test_extras_hold_what_the_other_packages_import():
    asked = {name(one) for one in PROJECT["dependencies"]}
    extras = PROJECT["optional-dependencies"]
    book = asked | {name(one) for one in extras["book"]}
    beside = others(files(*sorted(HOUSE - {"vicrop", "data_prep"})))
    # What papermill, IPython and transformers are made of.
    assert beside - book <= {
        "jupyter-client",
        "matplotlib-inline",
        "nbclient",
        "tokenizers",
    }


def test_lock_has_all_that_is_asked_for():
    lock = (paths.ROOT / "requirements.lock").read_text("utf-8")
    locked = {name(line) for line in lock.splitlines() if re.match(r"\w", line)}
    listed = (paths.ROOT / "requirements.in").read_text("utf-8").splitlines()
    direct = {name(line) for line in listed if re.match(r"\w", line)}
    asked = {
        name(one)
        for one in (
            *PROJECT["dependencies"],
            *(
                one
                for extra in PROJECT["optional-dependencies"].values()
                for one in extra
            ),
        )
    }
    assert asked - {"torch"} <= direct <= locked


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return zipfile.ZipFile(install.build(tmp_path_factory.mktemp("wheel")))


@pytest.mark.slow
def test_wheel_holds_the_method_its_data_and_the_scenes(wheel):
    there = {item.filename for item in wheel.infolist()}
    code = {file.relative_to(paths.ROOT).as_posix() for file in SOURCES}
    assert {one for one in there if one.endswith(".py")} == code | {
        "embedded/__init__.py"
    }
    data = {
        file.relative_to(paths.ROOT).as_posix()
        for part in ("vicrop", "data_prep")
        for file in (paths.ROOT / part).rglob("*")
        if file.is_file() and file.suffix not in (".py", ".pyc")
    }
    seeds = {one for one in data if re.search(r"/weights/[\w-]+-[23]/", one)}
    assert seeds and not seeds & there
    assert data - seeds <= there
    ours = {key for key, spec in MODELS.items() if spec.folder is not None}
    assert {one.split("/")[3] for one in data if "/weights/" in one} == ours


@pytest.mark.slow
def test_wheel_stays_small(wheel):
    assert sum(item.compress_size for item in wheel.infolist()) <= 27e6


@pytest.mark.slow
def test_wheel_says_what_it_is(wheel):
    (file,) = (item for item in wheel.namelist() if item.endswith("METADATA"))
    told = message_from_bytes(wheel.read(file))
    assert told["Name"] == PROJECT["name"] and told["Version"] == PROJECT["version"]
    assert told["Requires-Python"] == PROJECT["requires-python"]


def test_readmes_lines_are_the_ones_that_are_tried():
    assert len(install.shown("python")) == 1
    verbs = [line.split()[1] for line in install.commands()]
    wanted = "models prep answer run status verify score".split()
    assert sorted(verbs) == sorted(wanted)
