"""From the first page, what a figure or a verdict stands on is two clicks away."""

import re

import pytest
from test_reading_order import BEYOND, FIFTEEN
from visits import pages

NEAR = [name for name in [*FIFTEEN, *BEYOND] if name not in ("intro", "use_it")]
ANALYSES = [name for name in pages() if re.fullmatch(r"book/executed/\w+\.html", name)]
FIGURES = """
() => [...document.querySelectorAll(".bd-article .cell figure")].map((figure) => ({
  caption: figure.innerText,
  chart: figure.querySelector("img").src.endsWith(".svg"),
  code: figure.closest(".cell").querySelector(".cell_input pre") !== null,
  numbers: figure.querySelector("[download^='figure-']") !== null ||
    figure.closest("section").querySelector("[download^='table-']") !== null,
}))
"""


@pytest.mark.parametrize("name", NEAR)
def test_a_page_is_one_click_away(visitor, name):
    visitor.open("book/executed/intro.html")
    page = visitor.page
    page.set_viewport_size({"width": 1400, "height": 900})
    page.locator(f"a[href='{name}.html']:visible").first.click(timeout=5000)
    page.wait_for_url(re.compile(rf"/{name}\.html"))


@pytest.mark.parametrize("name", ANALYSES or ["-"])
def test_a_figures_code_and_numbers_are_a_click_away_on_its_page(visitor, name):
    visitor.open(name)
    page = visitor.page
    figures = page.evaluate(FIGURES)
    for figure in figures:
        assert figure["code"], f"no code: {figure['caption']}"
        assert figure["numbers"] or not figure["chart"], figure["caption"]
    for hidden in page.locator(".cell:has(figure) details.hide:has(pre)").all():
        hidden.locator("summary").first.click(timeout=5000)
        assert hidden.locator("pre").first.is_visible()


def test_a_claims_evidence_is_two_clicks_away(visitor):
    visitor.open("book/executed/intro.html")
    page = visitor.page
    page.set_viewport_size({"width": 1400, "height": 900})
    page.locator("a[href='claims.html']:visible").first.click(timeout=5000)
    page.wait_for_url(re.compile(r"/claims\.html"))
    rows = {f"C{number}": page.locator(f"#toy-C{number}") for number in range(1, 23)}
    assert [c for c, row in rows.items() if row.count() != 1] == []
    assert [c for c, row in rows.items() if not row.locator(".page a").count()] == []
    assert rows["C8"].locator(".verdict").inner_text().strip()
    rows["C8"].locator(".page a").click(timeout=5000)
    page.wait_for_load_state("load")
    assert page.locator(".cell_output").count() and visitor.errors == []
