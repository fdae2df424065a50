"""From the first page, what a figure or a verdict stands on is two clicks away."""

import re

import pytest
from test_reading_order import BEYOND, FIFTEEN

ANALYSES = [name for name in [*FIFTEEN, *BEYOND] if name not in ("intro", "use_it")]
FIGURES = """
() => [...document.querySelectorAll(".bd-article .cell figure")].map((figure) => ({
  caption: figure.innerText,
  chart: figure.querySelector("img").src.endsWith(".svg"),
  code: figure.closest(".cell").querySelector(".cell_input pre") !== null,
  numbers: figure.querySelector("[download^='figure-']") !== null ||
    figure.closest("section").querySelector("[download^='table-']") !== null,
}))
"""


@pytest.mark.parametrize("name", ANALYSES)
def test_a_figures_code_and_numbers_are_two_clicks_away(visitor, name):
    visitor.open("book/executed/intro.html")
    page = visitor.page
    page.set_viewport_size({"width": 1400, "height": 900})
    page.locator(f"a[href='{name}.html']:visible").first.click(timeout=5000)
    page.wait_for_url(re.compile(rf"/{name}\.html"))
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
    row = page.locator("#toy-C8")
    assert row.locator(".verdict").inner_text().strip()
    row.locator("a[href$='.html'], a[href*='.html#']").first.click(timeout=5000)
    page.wait_for_load_state("load")
    assert page.locator(".cell_output").count() and visitor.errors == []
