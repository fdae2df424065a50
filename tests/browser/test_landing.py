"""The first page's examples, and the band that stands on every page."""

import pytest
from visits import pages

PAGES = [name for name in pages() if name.startswith("book/")][:6]


def test_examples_are_chosen_by_keys(visitor):
    visitor.open("book/executed/intro.html")
    shown = visitor.page.locator(".hero .example:visible")
    before = shown.locator("b").first.inner_text(), shown.get_attribute("class")
    assert "✗" in before[0]
    visitor.page.locator(".hero input").first.focus()
    visitor.page.keyboard.press("ArrowRight")
    assert shown.count() == 1 and shown.get_attribute("class") != before[1]


def test_one_of_the_examples_is_a_failure(visitor):
    visitor.open("book/executed/intro.html")
    visitor.page.locator(".hero label", has_text="a failure").last.click()
    assert "right:" in visitor.page.locator(".hero .example:visible").inner_text()


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("name", PAGES or ["-"])
def test_toy_or_real_is_said_in_one_line(visitor, name, width):
    visitor.page.set_viewport_size({"width": width, "height": 844})
    visitor.open(name)
    band = visitor.page.locator(".band")
    box = band.bounding_box()
    assert band.inner_text().startswith(("TOY", "REAL")) and box["y"] == 0
    assert box["height"] < 32 and box["width"] <= width


def test_what_is_wider_than_a_phone_says_so(visitor):
    visitor.page.set_viewport_size({"width": 390, "height": 844})
    visitor.open("book/executed/method.html")
    wide = visitor.page.locator("figure.scrolls").first
    assert wide.get_attribute("tabindex") == "0"
    cue = "one => getComputedStyle(one, '::before').content"
    assert "scroll" in wide.evaluate(cue)
