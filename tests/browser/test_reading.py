"""The fifteen pages as they are met: the answer first, a short sidebar, legible."""

import re
import statistics
from pathlib import Path

import pytest
from test_reading_order import BEYOND, FIFTEEN
from visits import BOOK

DESK, PHONE = SCREENS = ({"width": 1400, "height": 900}, {"width": 390, "height": 844})
SIDEBAR = 25
"""Entries that may be seen on the landing page."""
WORDS = 1200
"""Of the median page."""
SMALLEST = 9
"""Pixels of a figure's label on a phone."""
SEEN = """(one) => {
  const box = one.getBoundingClientRect();
  return [box.top, box.bottom, box.left, box.right, box.height];
}"""
DRAWN = """() => [...document.querySelectorAll(".bd-article figure img[src$='.svg']")]
  .filter((img) => !img.src.includes("_static"))
  .map((img) => [img.getAttribute("src"), img.getBoundingClientRect().width])"""
LETTERS = re.compile(r"scale\((0\.\d+) -0\.\d+\)")
"""How matplotlib draws text: paths of a hundred units, scaled."""


def address(page):
    folder = "book" if page == "use_it" else "book/executed"
    return f"{folder}/{page}.html"


@pytest.mark.parametrize("size", SCREENS, ids=["desk", "phone"])
@pytest.mark.parametrize("page", [*FIFTEEN, *BEYOND])
def test_first_screen_holds_the_answer(visitor, page, size):
    visitor.page.set_viewport_size(size)
    visitor.open(address(page))
    answer = visitor.page.locator(".answer").first
    top, bottom, left, right, height = answer.evaluate(SEEN)
    assert height > 0 and 0 <= top and bottom <= size["height"]
    assert 0 <= left and right <= size["width"]


def test_sidebar_of_the_landing_page_is_short(visitor):
    visitor.page.set_viewport_size(DESK)
    visitor.open(address("intro"))
    links = visitor.page.locator(".bd-sidebar-primary nav.bd-links a:visible")
    assert 15 <= links.count() <= SIDEBAR


def test_pages_are_short(visitor):
    """Words that are read without opening anything."""
    count = "() => document.querySelector('.bd-article').innerText.split(/\\s+/).length"
    words = {}
    for page in FIFTEEN:
        visitor.open(address(page))
        words[page] = visitor.page.evaluate(count)
    assert statistics.median(words.values()) <= WORDS, words


@pytest.mark.parametrize("size", SCREENS, ids=["desk", "phone"])
def test_verdicts_are_seen_without_scrolling_sideways(visitor, size):
    visitor.page.set_viewport_size(size)
    visitor.open(address("claims"))
    verdicts = visitor.page.locator(".verdict:visible")
    assert verdicts.count() >= 12
    for number in range(verdicts.count()):
        _, _, left, right, _ = verdicts.nth(number).evaluate(SEEN)
        assert 0 <= left and right <= size["width"]


@pytest.mark.parametrize("page", [*FIFTEEN, *BEYOND])
def test_labels_of_figures_can_be_read_on_a_phone(visitor, page):
    visitor.page.set_viewport_size(PHONE)
    visitor.open(address(page))
    here = Path(BOOK).resolve() / address(page)
    for source, width in visitor.page.evaluate(DRAWN):
        drawing = (here.parent / source).read_text(encoding="utf-8")
        whole = float(re.search(r'viewBox="0 0 ([\d.]+)', drawing)[1])
        sizes = [100 * float(one) * width / whole for one in LETTERS.findall(drawing)]
        assert width == 0 or min(sizes) >= SMALLEST, source


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SCREENS, ids=["desk", "phone"])
@pytest.mark.parametrize("page", [*FIFTEEN, *BEYOND])
def test_page_is_kept_as_a_picture_to_look_at(visitor, page, size, scheme):
    visitor.page.set_viewport_size(size)
    visitor.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    visitor.open(address(page))
    visitor.page.add_style_tag(content="* { transition: none !important }")
    folder = Path(BOOK).parent / "shots"
    folder.mkdir(exist_ok=True)
    file = folder / f"{page}-{size['width']}-{scheme}.png"
    visitor.page.screenshot(path=file, full_page=True)
    assert file.stat().st_size > 10_000
