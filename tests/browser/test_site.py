"""The built book's files: links, texts for images, sizes."""

import re

import pytest

LIMIT = 67e6
"""Bytes that the whole book may have."""

YOURSELF = "Run this page yourself:"


def name(site, page):
    return page.relative_to(site.root).as_posix()


def executed(site):
    return [page for page in site.pages if "/book/executed/" in page.as_posix()]


def test_every_link_leads_somewhere(site):
    dead = {name(site, page): site.dead(page) for page in site.pages}
    assert {page: links for page, links in dead.items() if links} == {}


def test_every_image_has_a_text_instead(site):
    bare = {
        (name(site, page), image.get("src", "")[:60])
        for page, parsed in site.pages.items()
        for image in parsed.images
        if not (image.get("alt") or "").strip()
    }
    assert bare == set()


def test_no_image_has_its_file_name_for_a_text(site):
    """What myst-nb gives an image whose cell has no text."""
    for page, parsed in site.pages.items():
        texts = [image.get("alt") or "" for image in parsed.images]
        named = [text for text in texts if re.search(r"\.(png|jpe?g|svg)$", text)]
        assert named == [], name(site, page)


def test_book_is_not_too_heavy(site):
    assert site.size <= LIMIT, site.heaviest(5)


def test_every_executed_page_says_how_to_run_it(site):
    silent = [
        name(site, page)
        for page in executed(site)
        if YOURSELF not in page.read_text(encoding="utf-8")
    ]
    assert executed(site) and silent == []


def test_every_page_says_what_the_book_is(site):
    """Description and picture, for those who meet a link to it elsewhere."""
    for page, parsed in site.pages.items():
        if page == site.root / "index.html":
            continue  # leads to the first page
        assert parsed.meta.get("description"), name(site, page)
        picture, _ = site.target(page, parsed.meta["og:image"])
        assert picture.is_file(), name(site, page)


@pytest.mark.parametrize("caption", ["Decide", "Use it"])
def test_contents_are_on_the_first_page(site, caption):
    first = site.root / "book" / "executed" / "intro.html"
    assert caption in first.read_text(encoding="utf-8")
