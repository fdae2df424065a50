"""The book's pages on the data sets say what the code and the paper say."""

import json
import re

import pytest

import data_prep
import workflow
from vicrop import paths, scoring
from vicrop.run import datasets

FOLDER = paths.ROOT / "book" / "data"
SHARED = {"aokvqa-mc": "aokvqa", "hr-bench-4k": "hr-bench", "hr-bench-8k": "hr-bench"}
"""Pages of the keys that have none of their own."""

PAGES = sorted({SHARED.get(key, key) for key in data_prep.MODULES})
HEADINGS = [
    "What it is",
    "One question",
    "Counts",
    "Sizes of the objects",
    "Get it",
    "Licence and terms",
    "Run it",
    "How it is scored",
    "What the authors do differently",
]
WITH_BOXES = {"textvqa", "vstar", "treebench", "zoombench"}

COLUMNS = ("textvqa", "vstar", "pope", "docvqa", "aokvqa", "gqa", "vqav2")
METHODS = ("none", "rel-att", "grad-att", "pure-grad")
LLAVA = """
    47.80 42.41 85.27 15.97 59.01 60.48 75.57
    55.17 62.30 87.25 19.63 60.66 60.97 76.51
    56.06 57.07 87.03 19.84 59.94 60.98 76.06
    51.67 46.07 86.06 17.70 59.92 60.54 75.94
"""
INSTRUCTBLIP = """
    33.48 35.60 84.89  9.20 60.06 49.41 76.25
    45.44 42.41 86.64  9.95 61.28 49.75 76.84
    45.71 37.70 86.99 10.81 61.77 50.33 76.08
    42.23 37.17 86.84  8.99 61.60 50.08 76.71
"""
"""The paper's Table 2: METHODS × COLUMNS."""

TABLE_5 = {
    "vstar": "191 191 2246 1582",
    "docvqa": "5349 1286 1776 2084",
    "textvqa": "5000 3166 954 818",
    "pope": "8910 500 584 478",
    "aokvqa": "1145 1122 581 480",
    "gqa": "10781 398 578 482",
    "vqav2": "50000 14206 577 485",
}
"""The paper's questions, images, mean width and mean height."""

ELSEWHERE = {
    # Table 1 (without a crop, human crop), appendix A.
    "textvqa": {"39.38", "47.74", "50.65", "69.95", "65.36", "56.96", "63.95"},
    # Table 3 (without high resolution); the V* paper's LLaVA-1.5 and chance level.
    "vstar": {"47.64", "49.74", "45.03", "38.74", "48.68", "35.99", "98.95"},
    "vqav2": {"76.29"},  # Table 7
}
"""What else with two decimals a page may quote as published."""


def read(page):
    return (FOLDER / f"{page}.md").read_text(encoding="utf-8")


def section(page, heading):
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", read(page), re.M | re.S)
    assert found, f"{page}: no section {heading}"
    return found[1]


def page_of(key):
    return SHARED.get(key, key)


def table_2(key):
    """Method -> (LLaVA-1.5, InstructBLIP) of a data set."""
    at = COLUMNS.index(key)
    columns = ([row.split()[at] for row in t.strip().splitlines()] for t in MODELS)
    return dict(zip(METHODS, zip(*columns, strict=True), strict=True))


MODELS = (LLAVA, INSTRUCTBLIP)


def main_words(facts):
    """Words of a licence that say which: with a capital or a digit, or in quotes."""
    words = re.findall(r"[\w.-]*\w", facts.licence)
    quoted = re.findall(r'"(.*?)"', facts.licence)
    return {word for word in words if re.search(r"[A-Z0-9]", word)} | set(quoted)


def test_there_is_no_page_without_a_data_set():
    assert sorted(file.stem for file in FOLDER.glob("*.md")) == PAGES


@pytest.mark.parametrize("page", PAGES)
def test_headings_stand_in_one_order(page):
    wanted = [
        name
        for name in HEADINGS
        if name != "Sizes of the objects" or page in WITH_BOXES
    ]
    assert re.findall(r"^## (.*)$", read(page), re.M) == wanted


@pytest.mark.parametrize("key", data_prep.MODULES)
def test_page_names_the_command_that_makes_its_data(key):
    command = re.escape(datasets.MAKERS[key])
    assert re.search(rf"^{command}(?![\w-])", section(page_of(key), "Get it"), re.M)


@pytest.mark.parametrize("key", data_prep.MODULES)
def test_page_names_the_command_that_runs_it(key):
    run = section(page_of(key), "Run it")
    first = next(k for k in data_prep.MODULES if page_of(k) == page_of(key))
    assert f"--model llava-1.5-7b --dataset {first} --method rel-att" in run
    assert f"-p dataset {first} " in run and f"__{first}\n" in run
    assert re.search(rf"\b{key}(?![\w-])", run)


@pytest.mark.parametrize("key", data_prep.MODULES)
def test_page_says_where_each_file_is_from(key):
    facts, told = data_prep.get(key), section(page_of(key), "Get it")
    for file in (*facts.files, *facts.mirror):
        assert file.name in told
    if facts.pictures:
        assert facts.pictures.url.rpartition("/")[2] in told
    assert ("--mirror" in told) == bool(facts.mirror)
    assert "--source FOLDER" in told


@pytest.mark.parametrize("key", data_prep.MODULES)
def test_page_has_the_published_counts(key):
    facts, told = data_prep.get(key), section(page_of(key), "Counts")
    for count in (facts.questions, facts.images):
        assert count is None or re.search(rf"\| {count} \|", told), count


@pytest.mark.parametrize("key", data_prep.MODULES)
def test_page_has_the_main_words_of_the_licence(key):
    told = section(page_of(key), "Licence and terms")
    words = main_words(data_prep.get(key))
    assert words and [word for word in words if word not in told] == []


@pytest.mark.parametrize("key", COLUMNS)
def test_page_has_the_papers_table_2_and_its_gains(key):
    table, told = table_2(key), section(key, "What the authors do differently")
    for method, scores in table.items():
        gains = [
            "–"
            if method == "none"
            else f"{float(now) - float(was):+.2f}".replace("-", "−")
            for now, was in zip(scores, table["none"], strict=True)
        ]
        (llava, blip), (first, second) = scores, gains
        assert f"| {method} | {llava} | {first} | {blip} | {second} |" in told


@pytest.mark.parametrize("key", COLUMNS)
def test_page_has_no_other_number_of_the_paper(key):
    told = section(key, "What the authors do differently")
    known = {score for row in table_2(key).values() for score in row}
    found = set(re.findall(r"(?<![\d.+−])\d+\.\d\d(?!\d)", told))
    assert found <= known | ELSEWHERE.get(key, set())


@pytest.mark.parametrize("key", TABLE_5)
def test_page_has_the_papers_table_5_marked_as_the_papers(key):
    questions, images, width, height = TABLE_5[key].split()
    row = rf"\| Table 5.* \| {questions} \| {images} \| {width} × {height} \| the paper"
    assert re.search(row, section(key, "Counts"))


@pytest.mark.parametrize("page", PAGES)
def test_examples_of_originals_are_json(page):
    told = section(page, "One question")
    blocks = re.findall(r"^```json\n(.*?)^```", told, re.M | re.S)
    assert blocks
    for block in blocks:
        try:
            json.loads(block)
        except json.JSONDecodeError:  # or one object a line
            assert all(json.loads(line) for line in block.splitlines())


@pytest.mark.parametrize("page", PAGES)
def test_examples_of_scores_stand_where_the_authors_have_a_score(page):
    directive = f"```{{glue:}} examples_{page}\n:doc: ../executed/scores.ipynb\n```"
    found = directive in section(page, "How it is scored")
    assert found == scoring.has_upstream(page)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_pages(page):
    for target in re.findall(r"\{doc\}`([^`<]+)`", read(page)):
        name = target.rpartition("/")[2]
        where = workflow.notebooks() if "executed/" in target else FOLDER / target
        if where == FOLDER / target:
            assert where.with_suffix(".md").is_file(), target
        else:
            assert (where / f"{name}.ipynb").is_file(), target


@pytest.mark.parametrize("page", PAGES)
def test_citations_are_in_the_references(page):
    known = (paths.ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    for key in re.findall(r"\{cite\}`([^`]+)`", read(page)):
        assert f"{{{key}," in known
