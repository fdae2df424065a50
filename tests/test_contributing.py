"""CONTRIBUTING.md and the tests' README: what they name is there."""

import re

import pytest

from vicrop import paths

TEXT = (paths.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CODE = sorted(set(re.findall(r"`([^`\s]+)`", TEXT)))
PATHS = [
    one for one in CODE if "/" in one or re.search(r"\.(py|md|toml|in|lock|yml)$", one)
]
TARGETS = sorted(set(re.findall(r"`make ([\w-]+)", TEXT)))


@pytest.mark.parametrize("path", PATHS)
def test_named_path_is_there(path):
    assert (paths.ROOT / path).exists()


@pytest.mark.parametrize("target", TARGETS)
def test_named_target_is_in_the_makefile(target):
    makefile = (paths.ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:.*## ", makefile, re.M)


def test_every_package_of_the_house_is_on_the_map():
    packages = {file.parent.name for file in paths.ROOT.glob("*/__init__.py")}
    assert {f"{name}/" for name in packages} <= set(PATHS)


def test_continuous_integration_runs_what_it_says():
    said = re.search(r"`\.ci/run` \| what must pass: (.*) \|", TEXT)[1]
    run = (paths.ROOT / ".ci/run").read_text(encoding="utf-8")
    made = " ".join(re.findall(r"^make ([^#\n]*)", run, re.M)).split()
    assert [word for word in made if word.isalpha()] == said.split(", ")


def test_every_test_that_the_readme_names_is_there():
    folder = paths.ROOT / "tests"
    named = re.findall(r"\btest_\w+\.py", (folder / "README.md").read_text("utf-8"))
    there = {file.name for file in folder.rglob("test_*.py")}
    assert named and set(named) <= there
