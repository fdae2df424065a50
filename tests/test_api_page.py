"""The page on the package: its example runs, and what it lists is there and whole."""

import doctest
import inspect
import re
import subprocess
import sys
from importlib import import_module

import pytest
import yaml

import vicrop
from vicrop import paths

PAGE = paths.ROOT / "book" / "api.md"
TEXT = PAGE.read_text(encoding="utf-8")
RST = re.findall(r"```\{eval-rst\}\n(.*?)```", TEXT, re.S)
LISTED = re.findall(r"^\.\. auto\w+:: (vicrop\.\S+)\n((?:   .*\n)*)", TEXT, re.M)

EXTENSIONS = PAGE.parent / "_extensions"
SET = yaml.safe_load((paths.ROOT / "_config.yml").read_text())["sphinx"]["config"]
OURS = ("autodoc", "napoleon", "python", "maximum")
BOOK = {key: value for key, value in SET.items() if key.startswith(OURS)}
CONF = """
import sys
sys.path.append({path!r})
globals().update({book!r})
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "apipage"]
"""
"""Of a small book that is this page alone, with the settings of the whole."""

LEFT_OUT = {
    "capture": "the adapters' tool: what it does is said in the page on the method",
    "pipeline": "its class stands there as `vicrop.ViCrop`",
    "paths": "two environment variables, named on the page",
    "view": "its class stands there as `vicrop.View`",
}
"""Public names that the page does not list, and why."""


def found(name):
    """What a dotted name stands for; the longest module first."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            thing = import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            thing = getattr(thing, part)
        return thing
    raise AssertionError(name)


def members():
    """Dotted names of all that the page lists, its classes' members among them."""
    for name, options in LISTED:
        yield name
        chosen = re.search(r":members: (.*)", options)
        for member in chosen[1].split(", ") if chosen else []:
            yield f"{name}.{member}"


def section(text, title):
    """First line of a docstring's section; empty where there is none."""
    at = re.search(rf"^{title}:\n +(.*)$", text, re.M)
    return at[1] if at else ""


def test_the_example_runs():
    blocks = re.findall(r"```python\n(>>> .*?)```", TEXT, re.S)
    example = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "api", "", 0)
    runner = doctest.DocTestRunner()
    runner.run(example)
    assert len(blocks) == 2 and runner.summarize().failed == 0


def test_every_public_name_is_listed_or_left_out_with_a_reason():
    there = {name.split(".")[1] for name, _ in LISTED}
    assert set(vicrop.__all__) - there == set(LEFT_OUT)


@pytest.mark.parametrize("name", [*members()])
def test_what_is_listed_exists_and_says_what_it_is(name):
    thing = found(name)
    assert inspect.getdoc(thing) or isinstance(thing, tuple)


@pytest.mark.parametrize("name", [*members()])
def test_no_colon_is_taken_for_the_end_of_a_type(name):
    """As napoleon does in a property's docstring, and under ``Returns``."""
    text = inspect.getdoc(found(name)) or ""
    first = text.partition("\n")[0]
    assert ": " not in section(text, "Returns")
    if isinstance(found(name), property):
        assert ": " not in first


@pytest.mark.slow
def test_signatures_show_no_folder_and_no_address(tmp_path):
    (tmp_path / "index.rst").write_text("API\n===\n\n" + "\n".join(RST))
    (tmp_path / "conf.py").write_text(CONF.format(path=str(EXTENSIONS), book=BOOK))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "text"]
    subprocess.run([*command, str(tmp_path), str(out)], check=True)
    text = (out / "index.txt").read_text(encoding="utf-8")
    assert "vicrop.boxes.select_box" in text and "ImageLike" in text
    for wrong in ("0x", str(paths.ROOT), "site-packages", "FieldInfo", "_Supports"):
        assert wrong not in text
