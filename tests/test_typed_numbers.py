"""No result is typed: numbers in prose come from the records, by glue.

Looked for in the notebooks' Markdown, the book's pages and the README: percentages,
fractions, signed numbers and intervals. What may stand there is listed with its reason.
"""

import re

import nbformat
import pytest

import workflow
from vicrop import paths
from workflow import readme

PAGES = sorted((paths.ROOT / "book").glob("*.md"))
NOTEBOOKS = sorted(workflow.notebooks().glob("*.ipynb"))
"""Pages on data sets quote the published numbers; ``test_book_data`` checks those."""

HIDDEN = (
    r"^(`{3,}|~{3,}).*?^\1`*\s*$",  # code, directives
    r"\$\$.*?\$\$",
    r"\{[\w:-]+\}`[^`]*`",  # roles: glue, doc, cite, math
    r"`[^`]*`",
    r"\$[^$\n]*\$",
    r"\]\([^)]*\)",  # addresses of links
    r"<!--.*?-->",
)
"""What is no prose."""

NUMBER = r"(?<![\w.])(?<![A-Za-z]-)[+−-]?\d+(?:[.,]\d+)*"
RESULT = re.compile(
    rf"{NUMBER}\s?(?:%|percent\b|points?\b)"  # 12 %, 3 points
    r"|(?<![\w.])(?<![A-Za-z]-)[+−-]?\d+\.\d+(?![\w.])"  # 0.75
    r"|(?<![\w.])[+−]\d+"  # +3
    r"|±\s?\d"
    r"|\b\d+ (?:of|out of) (?:the )?\d+"  # 3 of 4
    r"|\b\d+(?:\.\d+)?\s?(?:×|x|times) (?:faster|slower|more|fewer|less|as)"
)

ALLOWED = {
    ("", "95 %"): "the intervals' level",
    ("deviations.md", "±7"): "what an unpaired interval over 191 questions is",
    ("data_card.ipynb", "42 %"): "a bound of what is drawn",
    ("data_card.ipynb", "36 %"): "a bound of what is drawn",
    ("model_card.ipynb", "15 %"): "a share that the training was told",
}
"""(Page, number) and what it is; no page means any."""

MARKED = re.compile(
    r"\bthe paper|\bpaper's|\bauthors'|\bupstream's|\bpublished\b", re.I
)
"""A sentence or row that says whose numbers it has."""

PARAMETER = re.compile(
    r"[<>≤≥=]\s?$|\b(?:seed|layer|patch|side|below|above|from|threshold|Python|version"
    r"|section|Section|Table|Figure|arXiv|MIT|CC BY(?:-SA|-NC)*|learning rate)\s*$"
)
"""What stands before a parameter, a bound, a version or the number of a section."""


def texts():
    for file in [*PAGES, paths.ROOT / "README.md"]:
        text = file.read_text(encoding="utf-8")
        begin, _, rest = text.partition(readme.BEGIN)
        yield file.name, begin + rest.partition(readme.END)[2]
    for file in NOTEBOOKS:
        for cell in nbformat.read(file, as_version=4).cells:
            if cell.cell_type == "markdown":
                yield file.name, cell.source


def typed(text):
    """Numbers of a text that look like results, each with its row or sentence."""
    for pattern in HIDDEN:
        text = re.sub(pattern, " ⟨⟩ ", text, flags=re.M | re.S)
    for part in parts(text):
        if MARKED.search(part):
            continue
        for found in RESULT.finditer(part):
            if not PARAMETER.search(part[: found.start()]):
                yield re.sub(r"\s", " ", found[0]), part


def parts(text):
    """Rows of tables, and sentences, each in one line."""
    for block in re.split(r"\n\s*\n", text):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        yield from rows
        prose = " ".join(line for line in block.splitlines() if line not in rows)
        yield from re.split(r"(?<=[.!?])\s+(?=[A-Z*(])", prose)


def test_no_result_is_typed():
    found = {
        (name, number): sentence
        for name, text in texts()
        for number, sentence in typed(text)
        if ("", number) not in ALLOWED and (name, number) not in ALLOWED
    }
    assert found == {}, "glue it, or list it in ALLOWED with what it is"


def test_what_is_allowed_is_still_there():
    there = {(name, number) for name, text in texts() for number, _ in typed(text)}
    anywhere = {("", number) for _, number in there}
    assert set(ALLOWED) <= there | anywhere


@pytest.mark.parametrize(
    "sentence",
    [
        "Cropping raises it by 12 points.",
        "It is right in 45.8 % of them.",
        "rel-att gains +3 on small objects.",
        "The ratio is 1.73 there.",
        "Of all, 3 of 62 are broken.",
        "Ours is 2.1 times faster.",
        "| rel-att | 45.8 |",
        "The paper says so. Ours is 45.8 %.",
        "0.4 ± 0.1",
        "{glue:text}`gain` points, so 7 points",
    ],
)
def test_typed_results_are_found(sentence):
    assert list(typed(sentence))


@pytest.mark.parametrize(
    "sentence",
    [
        "It gains {glue:text}`gain` points, {glue:text}`n:s` of {glue:text}`of:s`.",
        "LLaVA-1.5 and Qwen2.5-VL on Python 3.11 at seed 7",
        "small objects (S < 0.005), layer 14, see section 4.2",
        "The paper's accuracy is 47.80 %,\nand 55.17 % with a crop.",
        "| LLaVA-1.5 7B (the paper's) | 47.80 |",
        "Set `limit=0.5`, $x = 0.5$ and [this](https://x.org/1.5/).",
        "```\n12 %\n```\n",
        "300 questions about 96 pictures",
    ],
)
def test_other_numbers_are_left_alone(sentence):
    assert list(typed(sentence)) == []
