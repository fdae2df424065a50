"""The files of a built book: links, anchors, images and sizes, without a browser."""

from dataclasses import dataclass, field
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class Parsed(HTMLParser):
    """What a page's markup says.

    Attributes:
        anchors: ids, and names of links.
        links: addresses of links and of files that the page loads.
        images: attributes of each image.
        title: its first heading.
        captions: texts below figures, without their numbers.
        meta: contents of meta elements, by name or property.
    """

    anchors: set = field(default_factory=set)
    links: list = field(default_factory=list)
    images: list = field(default_factory=list)
    captions: list = field(default_factory=list)
    meta: dict = field(default_factory=dict)
    title: str = ""
    _in_title: bool = False
    _in_caption: int = 0

    @property
    def figures(self) -> list:
        """Images that are files of pixels."""
        sources = [image.get("src", "") for image in self.images]
        return [s for s in sources if s.endswith((".png", ".jpeg", ".jpg"))]

    def __post_init__(self):
        super().__init__()

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "h1":
            self._in_title = not self.title.strip()
        self._in_title &= "headerlink" not in (given.get("class") or "")
        if tag == "span" and given.get("class") == "caption-text":
            self.captions.append("")
            self._in_caption = 1
        elif tag == "span" and self._in_caption:
            self._in_caption += 1
        self.anchors.update(filter(None, (given.get("id"), given.get("name"))))
        for key in ("href", "src"):
            if given.get(key) and tag != "base":
                self.links.append(given[key])
        if tag == "img":
            self.images.append(given)
        if tag == "meta":
            key = given.get("name") or given.get("property")
            self.meta[key] = given.get("content")

    def handle_endtag(self, tag):
        self._in_title &= tag != "h1"
        if tag == "span" and self._in_caption:
            self._in_caption -= 1

    def handle_data(self, data):
        if self._in_title:
            self.title += data
        if self._in_caption:
            self.captions[-1] += data


class Site:
    """A built book.

    Attributes:
        root: its folder.
    """

    def __init__(self, root: Path):
        self.root = root.resolve()

    @property
    def names(self) -> list[str]:
        """Paths of all pages from the root; files of the theme are none."""
        found = [p.relative_to(self.root).as_posix() for p in self.root.rglob("*.html")]
        return sorted(name for name in found if not name.startswith("_static/"))

    @cached_property
    def pages(self) -> dict[Path, Parsed]:
        """Every page, read."""
        found = {}
        for file in (self.root / name for name in self.names):
            found[file] = Parsed()
            found[file].feed(file.read_text(encoding="utf-8"))
        return found

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.stat().st_size for file in self.root.rglob("*"))

    def target(self, page: Path, link: str) -> tuple[Path, str] | None:
        """File and anchor of a link within the book; None if it leads elsewhere."""
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            return None
        path = unquote(parts.path)
        file = (page.parent / path).resolve() if path else page
        return file, unquote(parts.fragment)

    def dead(self, page: Path) -> list[str]:
        """Links of a page that lead to no file or to no place in it."""
        return [link for link in self.pages[page].links if self._is_dead(page, link)]

    def _is_dead(self, page: Path, link: str) -> bool:
        found = self.target(page, link)
        if found is None:
            return False
        file, anchor = found
        if not file.is_file():
            return True
        known = self.pages.get(file)
        return bool(anchor and known and anchor not in known.anchors)

    def weight(self, page: Path) -> int:
        """Bytes of a page and of the images that it shows."""
        sources = [image.get("src", "") for image in self.pages[page].images]
        shown = [self.target(page, source) for source in sources]
        files = {page, *(found[0] for found in shown if found)}
        return sum(file.stat().st_size for file in files if file.is_file())

    def heaviest(self, count: int) -> list[tuple[str, int]]:
        """Names and weights of the heaviest pages, images included."""
        weights = {page: self.weight(page) for page in self.pages}
        worst = sorted(weights, key=weights.__getitem__, reverse=True)[:count]
        return [
            (page.relative_to(self.root).as_posix(), weights[page]) for page in worst
        ]
