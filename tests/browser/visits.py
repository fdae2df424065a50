"""A page of the built book in a browser, and what went wrong or out."""

import os
import re
from collections import Counter
from pathlib import Path

from site_files import Site

BOOK = os.environ.get("VICROP_BOOK")
AXE = os.environ.get("VICROP_AXE")
KNOWN = "Identifier 'THEBE_JS_URL' has already been declared"
"""What sphinx-thebe 0.3.1 says on every page, thebe on or off; harmless."""

found: Counter = Counter()
"""What axe found: page and impact -> times; for the summary."""


def pages() -> list[str]:
    """Paths of all pages of the book, from its folder; its theme's parts are none."""
    return [] if not BOOK else Site(Path(BOOK)).names


class Visit:
    """A page that is open, and what went wrong or out since it was opened.

    Attributes:
        page: playwright's.
        asked: addresses that are no files of this machine.
        errors: of the console and of scripts.
    """

    def __init__(self, browser):
        self._context = browser.new_context(reduced_motion="reduce")
        self._context.route(re.compile(r"^(?!file:|data:|blob:)"), lambda r: r.abort())
        self.page = self._context.new_page()
        self.asked, self.errors = [], []
        self.page.on("request", self._request)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self._error(error.message))

    def _request(self, request):
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.asked.append(request.url)

    def _console(self, message):
        if message.type == "error":
            self._error(message.text)

    def _error(self, text):
        if KNOWN not in text:
            self.errors.append(text)

    def open(self, name: str) -> None:
        """Open a page of the book, its scripts included."""
        self.page.goto((Path(BOOK).resolve() / name).as_uri(), wait_until="load")

    def close(self):
        self._context.close()
