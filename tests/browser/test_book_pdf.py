"""The printed book: it opens, and has every chapter and figure."""

import os
import unicodedata
from pathlib import Path

import pytest
from site_files import Site

PDF = os.environ.get("VICROP_PDF")


@pytest.fixture(scope="module")
def pdf():
    """The book, read."""
    if not PDF or not Path(PDF).is_file():
        pytest.skip("no printed book (VICROP_PDF); `make pdf`, then `make book-check`")
    return pytest.importorskip("pypdf", reason="no pypdf").PdfReader(PDF)


def squeezed(text):
    """Letters and digits alone: a PDF has its own spaces, and ligatures."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text)))


def titles(site: Site) -> dict[str, str]:
    """First headings of all pages of the contents."""
    return {
        page.relative_to(site.root).as_posix(): parsed.title
        for page, parsed in site.pages.items()
        if "/book/" in page.as_posix()
    }


@pytest.fixture(scope="module")
def text(pdf):
    return squeezed("".join(page.extract_text() for page in pdf.pages))


def test_every_chapter_is_in_the_pdf(site, text):
    missing = {p: t for p, t in titles(site).items() if squeezed(t) not in text}
    assert titles(site) and missing == {}


def test_every_caption_is_in_the_pdf(site, text):
    """A chart's is all that can be looked for: it is drawn by lines, not pixels."""
    told = [caption for parsed in site.pages.values() for caption in parsed.captions]
    missing = [caption for caption in told if squeezed(caption) not in text]
    assert len(told) > 40 and missing == []


def test_every_picture_is_in_the_pdf(site, pdf):
    shown = sum(len(parsed.figures) for parsed in site.pages.values())
    drawn = sum(len(page.images) for page in pdf.pages)
    assert drawn >= shown > 0
