"""Every page in a browser: offline, without errors, for everyone, on a phone."""

import re
from urllib.parse import urljoin

import pytest
from visits import found

SEVERE = ("serious", "critical")
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN = """
async (tags) => {
  // The button's picture is exchanged while axe looks at it.
  const found = await axe.run(
    { exclude: [[".theme-switch-button"]] },
    { runOnly: { type: "tag", values: tags }, resultTypes: ["violations"] },
  );
  return found.violations.map((rule) => ({
    id: rule.id,
    impact: rule.impact,
    places: rule.nodes.map((node) => node.target.join(" ")),
  }));
}
"""
PHONE = {"width": 420, "height": 900}
DESK = {"width": 1280, "height": 900}


def test_page_opens_from_its_file_and_asks_for_nothing_else(visit):
    visit.page.wait_for_load_state("networkidle")
    assert visit.asked == []
    assert visit.errors == []


def test_requests_and_errors_are_seen(visitor):
    """What the other tests rely on: nothing gets out, and nothing goes unnoticed."""
    visitor.open("book/executed/intro.html")
    visitor.page.evaluate("fetch('https://example.org/x').catch(() => null)")
    visitor.page.evaluate("setTimeout(() => { throw new Error('torn') })")
    visitor.page.wait_for_timeout(200)
    assert visitor.asked == ["https://example.org/x"]
    assert any("torn" in error for error in visitor.errors)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(visit, axe, scheme):
    if visit.name == "index.html":
        pytest.skip("leads to the first page at once")
    visit.page.set_viewport_size(DESK)
    visit.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    visit.page.wait_for_selector(f"html[data-theme={scheme}]", state="attached")
    rules = look(visit, axe)
    for rule in rules:
        key = (scheme, rule["impact"], rule["id"])
        found[key] += len(rule["places"])
    severe = {r["id"]: r["places"][:5] for r in rules if r["impact"] in SEVERE}
    assert severe == {}


def look(visit, axe):
    """Rules of axe that a page breaks."""
    visit.page.evaluate(f"window.axe || (() => {{ {axe} }})()")
    return visit.page.evaluate(RUN, TAGS)


def test_axe_finds_what_is_amiss(visitor, axe):
    visitor.open("book/executed/intro.html")
    visitor.page.evaluate("document.querySelector('main').append(new Image())")
    grey = "<p style='color: #999; background: #fff'>pale</p>"
    visitor.page.evaluate(
        f'document.querySelector("article").insertAdjacentHTML("beforeend", "{grey}")'
    )
    found = {rule["id"] for rule in look(visitor, axe)}
    assert {"image-alt", "color-contrast"} <= found


def test_page_fits_a_phone(visit):
    visit.page.set_viewport_size(PHONE)
    assert overflow(visit) == 0


def overflow(visit):
    """By how many pixels a page is wider than the window."""
    return visit.page.evaluate("""() => {
      window.scrollTo(10000, 0);
      const moved = window.scrollX;
      window.scrollTo(0, 0);
      const page = document.scrollingElement;
      return Math.max(moved, page.scrollWidth - page.clientWidth);
    }""")


def test_what_is_too_wide_for_a_phone_is_seen(visitor):
    visitor.open("book/executed/intro.html")
    visitor.page.set_viewport_size(PHONE)
    wide = "<div style='width: 700px'>wide</div>"
    visitor.page.evaluate(
        f'document.querySelector("article").insertAdjacentHTML("beforeend", "{wide}")'
    )
    assert overflow(visitor) > 0


def test_first_page_leads_to_the_book(visitor):
    visitor.open("index.html")
    visitor.page.wait_for_url(re.compile("book/executed/intro.html"))
    assert visitor.page.locator("h1").first.inner_text().startswith("Does a model look")


def test_search_works_without_a_network(visitor):
    visitor.open("book/executed/intro.html")
    visitor.page.keyboard.press("Control+k")
    visitor.page.keyboard.type("relative attention")
    visitor.page.keyboard.press("Enter")
    results = visitor.page.locator("#search-results li a")
    results.first.wait_for()
    visitor.page.get_by_text(re.compile(r"found \d+ page")).wait_for()
    assert results.count() > 3
    results.first.click()
    visitor.page.wait_for_url(re.compile(r"/book/.*\.html"))
    visitor.page.wait_for_load_state("load")
    assert visitor.asked == [] and visitor.errors == []


def test_every_table_and_figure_can_be_taken_along(visitor):
    """A link to a table's numbers, to a figure's picture, and to its numbers."""
    visitor.open("book/executed/why_it_fails.html")
    page = visitor.page
    tables = page.locator("table.dataframe").count()
    links = page.locator("a.take-along[download^='table-']")
    assert tables and links.count() == tables
    for link in (links.first, page.locator("a.take-along[download^='figure-']").first):
        with page.expect_download() as waiting:
            link.click()
        text = waiting.value.path().read_text(encoding="utf-8")
        assert text.count("\n") > 1 and "," in text.splitlines()[0]
    figures = page.locator("figure a.take-along:not([download^='figure-'])")
    assert page.locator("figure img").count() == figures.count() > 0
    said = set(figures.all_inner_texts())
    assert said == {"figure as SVG", "figure as JPG"}


def test_chart_to_take_along_is_a_drawing(visitor):
    visitor.open("book/executed/cost.html")
    link = visitor.page.get_by_text("figure as SVG").first.get_attribute("href")
    visitor.page.goto(urljoin(visitor.page.url, link))
    assert visitor.page.locator("svg path").count() > 10
