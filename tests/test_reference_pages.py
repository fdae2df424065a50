"""The glossary is in order and leads on; what is cited is typed in one place only."""

import re
from collections import Counter

import pytest
import yaml

from vicrop import paths

BOOK = paths.ROOT / "book"
GLOSSARY = (BOOK / "glossary.md").read_text(encoding="utf-8")
ENTRIES = re.findall(r"^(\S.*)\n((?:  .+\n)+)", GLOSSARY.split("{glossary}\n")[1], re.M)
TERMS = [term for term, _ in ENTRIES]
CITE = (BOOK / "cite.md").read_text(encoding="utf-8")
CITATION = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text(encoding="utf-8"))
LEADS = r"\{(?:doc|eq|ref|py:\w+)\}`"


def plain(text):
    """A title without BibTeX's braces, in single blanks."""
    return " ".join(re.sub(r"[{}]", "", text).split())


def fields(entry):
    """Fields of one BibTeX entry."""
    return {
        key: plain(value)
        for key, value in re.findall(r"^\s+(\w+)\s*= \{(.*)\},$", entry, re.M)
    }


def included(page, name):
    """What a page's literalinclude takes of a file: from one line to another."""
    options = page.split(f"{{literalinclude}} {name}\n")[1].partition("```")[0]
    start, end = (
        re.search(rf':{key}: "(.*)"', options)[1] for key in ("start-at", "end-before")
    )
    lines = (BOOK / name).read_text(encoding="utf-8").splitlines(keepends=True)
    first = next(n for n, line in enumerate(lines) if start in line)
    last = next(n for n, line in enumerate(lines) if end in line and n > first)
    return "".join(lines[first:last])


def test_terms_are_in_alphabetical_order():
    assert TERMS == sorted(TERMS, key=str.lower)


def test_no_term_comes_twice():
    assert [term for term, n in Counter(map(str.lower, TERMS)).items() if n > 1] == []


@pytest.mark.parametrize(("term", "text"), ENTRIES, ids=TERMS)
def test_every_term_leads_to_where_it_is_defined(term, text):
    assert re.search(LEADS, text)


def test_glossary_has_the_words_of_the_method():
    page = read("../notebooks/method.ipynb")
    used = re.findall(r"\{term\}`(?:[^`<]*<)?([^`<>]+)>?`", page)
    assert used and set(used) <= set(TERMS)


def read(name):
    return (BOOK / name).read_text(encoding="utf-8")


def test_the_cited_paper_is_one_whole_entry_of_the_references():
    entry = included(CITE, "references.bib").strip()
    assert entry.count("@") == 1 and entry.endswith("}")
    assert entry.count("{") == entry.count("}")


def test_references_and_citation_file_name_the_same_paper():
    paper = fields(included(CITE, "references.bib"))
    known = CITATION["references"][0]
    authors = [f"{a['family-names']}, {a['given-names']}" for a in known["authors"]]
    assert paper["title"] == known["title"]
    assert paper["author"].split(" and ") == authors
    assert paper["year"] == str(known["year"]) and paper["url"] == known["url"]
    assert known["identifiers"][0]["value"] in paper["note"]


def test_the_cited_software_is_that_of_the_citation_file():
    software = fields(CITE.split("@software")[1])
    assert software["title"] == CITATION["title"]
    assert software["author"] == CITATION["authors"][0]["name"]
    assert software["version"] == CITATION["version"]
    assert CITATION["license"] in software["note"]


def test_every_data_set_s_licence_is_led_to():
    pages = {file.stem for file in (BOOK / "data").glob("*.md")}
    assert set(re.findall(r"\{doc\}`data/([\w-]+)`", CITE)) == pages
    assert all("## Licence" in read(f"data/{page}.md") for page in pages)
