"""From the first page, what a figure or a verdict stands on is two clicks away."""

import re

import pytest
from visits import pages

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


@pytest.mark.parametrize("name", ANALYSES or ["-"])
def test_a_figures_code_and_numbers_are_two_clicks_away(visitor, name):
    visitor.open("book/executed/intro.html")
    page = visitor.page
    page.locator(f"a[href='{name.removeprefix('book/')}']:visible").first.click()
    page.wait_for_url(re.compile(re.escape(name)))
    figures = page.evaluate(FIGURES)
    assert figures or not re.search(r"/\d\d_", name)  # analyses have some
    for figure in figures:
        assert figure["code"], f"no code: {figure['caption']}"
        assert figure["numbers"] or not figure["chart"], figure["caption"]
    for hidden in page.locator(".cell:has(figure) details").all():
        if not hidden.locator("pre").first.is_visible():
            hidden.locator("summary").click()
        assert hidden.locator("pre").first.is_visible()


def test_a_claims_evidence_is_two_clicks_away(visitor):
    visitor.open("book/executed/intro.html")
    page = visitor.page
    page.locator("a[href='executed/claims.html']:visible").first.click()
    page.wait_for_url(re.compile("claims.html"))
    rows = page.locator("#the-ledger table tr:has(td)").filter(
        has=page.locator("td:first-child", has_text=re.compile(r"^\s*C\d+\s*$"))
    )
    ledger = {row.locator("td").first.inner_text(): row for row in rows.all()}
    assert len(ledger) == 22
    without = [c for c, row in ledger.items() if not row.locator("a").count()]
    assert without == []
    ledger["C8"].locator("a").first.click()
    page.wait_for_load_state("load")
    assert page.locator(".cell_output").count() and visitor.errors == []
