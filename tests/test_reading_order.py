"""Fifteen pages in reading order: each answers first, ends with what would undo it."""

import ast
import re

import nbformat
import pytest
import yaml

from vicrop import paths

FIFTEEN = (
    "intro quick_start claims the_paper method small_details where_they_look explorer "
    "does_cropping_help each_part why_it_fails cost trust use_it reproduce"
).split()
BEYOND = ["every_map", "when_to_crop"]
MOST_WORDS, MOST_LINES = 60, 12
"""Of an answer, and of the computation that a page is about."""
MEASURED = ("where_they_look", "does_cropping_help", "why_it_fails", "method")
"""Pages about one computation, which stands in them."""
ANSWER = re.compile(r"^:::\{div\} answer\n(.*?)\n:::$", re.M | re.S)
TOC = yaml.safe_load((paths.ROOT / "_toc.yml").read_text(encoding="utf-8"))


def cells(page):
    """The Markdown and the code of a page."""
    words = paths.ROOT / "book" / f"{page}.md"
    if words.exists():
        return [words.read_text(encoding="utf-8")], []
    file = paths.ROOT / "notebooks" / f"{page}.ipynb"
    made = nbformat.read(file, as_version=4).cells
    kinds = ("markdown", "code")
    return [[one for one in made if one.cell_type == kind] for kind in kinds]


def markdown(page):
    return [one if isinstance(one, str) else one.source for one in cells(page)[0]]


def chapters():
    """Names of all pages above the appendix, as the sidebar lists them."""
    listed = [entry for part in TOC["parts"] for entry in part["chapters"]]
    return [TOC["root"], *(entry["file"] for entry in listed)]


def test_table_of_contents_is_in_reading_order():
    names = [file.rpartition("/")[2] for file in chapters()]
    assert names[:17] == [*FIFTEEN, *BEYOND]
    assert names[17:] == ["status", "appendix"]


@pytest.mark.parametrize("page", [*FIFTEEN, *BEYOND])
def test_page_begins_with_its_answer(page):
    first = markdown(page)[0]
    title, answer = first.split("\n\n", 1)
    assert re.fullmatch(r"(?:\([\w-]+\)=\n)?# .+", title)
    (found,) = ANSWER.findall(first)
    assert answer.startswith(":::{div} answer"), "something stands before the answer"
    plain = re.sub(r"\{[\w:]+\}`([^`]*)`", "x", found)
    assert 5 <= len(plain.split()) <= MOST_WORDS


@pytest.mark.parametrize("page", [*FIFTEEN, *BEYOND])
def test_page_says_what_would_change_our_mind(page):
    text = "\n\n".join(markdown(page))
    said = text.partition("\n## What would change our mind\n")[2].partition("\n## ")[0]
    assert len(said.split()) >= 15


@pytest.mark.parametrize("page", MEASURED)
def test_the_computation_stands_in_the_page_and_equals_the_package_s(page):
    code = [c for c in cells(page)[1] if "computation" in c.metadata.get("tags", ())]
    assert code
    for cell in code:
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert len(lines) <= MOST_LINES
        assert not {"hide-input", "remove-input", "hide-cell"} & set(cell.metadata.tags)
    last = [ast.parse(cell.source).body for cell in code]
    assert any(isinstance(one, ast.Assert) for body in last for one in body)


@pytest.mark.parametrize("page", [*FIFTEEN, *BEYOND])
def test_no_sentence_is_glued_of_numbers(page):
    for text in markdown(page):
        text = re.sub(r"^(?:```|:::).*$|^\|.*$", "", text, flags=re.M)
        for sentence in re.split(r"(?<=[.;:?!])\s|\n\n|\n[*-] ", text):
            assert sentence.count("{glue:text}") <= 3, sentence
