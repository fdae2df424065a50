"""A built book in a browser that reaches nothing but its files.

``make book-check`` says which book (``VICROP_BOOK``) and which axe-core
(``VICROP_AXE``); without them these tests are skipped.
"""

import os
import shutil
from pathlib import Path

import pytest
from site_files import Site
from visits import AXE, BOOK, Visit, found, pages

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in here:
        item.add_marker("browser")
        if not pages():
            reason = "no built book (VICROP_BOOK); `make book`, then `make book-check`"
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_generate_tests(metafunc):
    if "visit" in metafunc.fixturenames:
        metafunc.parametrize("visit", pages() or ["-"], indirect=True, scope="module")


@pytest.fixture(scope="session")
def site():
    return Site(Path(BOOK))


@pytest.fixture(scope="session")
def chromium():
    """The installed Chromium, driven by playwright; no name can be resolved in it."""
    driver = pytest.importorskip("playwright.sync_api", reason="no playwright")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium is installed")
    flags = ["--host-resolver-rules=MAP * ~NOTFOUND"]
    flags += ["--no-sandbox"] if os.geteuid() == 0 else []
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def visit(request, chromium):
    """One visit a page for all tests of it."""
    made = Visit(chromium)
    made.name = request.param
    made.open(request.param)
    yield made
    made.close()


@pytest.fixture
def visitor(chromium):
    """A visit that begins nowhere."""
    made = Visit(chromium)
    yield made
    made.close()


@pytest.fixture(scope="session")
def axe():
    """The text of axe-core."""
    if not AXE or not Path(AXE).is_file():
        pytest.skip("no axe-core (VICROP_AXE); `make book-check` fetches it with npm")
    return Path(AXE).read_text(encoding="utf-8")


def pytest_terminal_summary(terminalreporter):
    """The heaviest pages, and what axe found below what fails."""
    if not pages():
        return
    write = terminalreporter.write_line
    book = Site(Path(BOOK))
    write(f"book: {book.size / 1e6:.1f} MB in all; its heaviest pages, images included")
    for name, size in book.heaviest(10):
        write(f"  {size / 1e6:5.2f} MB  {name}")
    for (scheme, impact, rule), times in sorted(found.items()):
        write(f"axe, {scheme}: {impact} {rule} on {times} elements")
