"""Pages of runs: built, and reached from *All runs*, but in no sidebar nor search.

They stand in ``_toc.yml``, for what does not is not built. So they are taken out of the
trees of contents as these are read: no numbers of the book's figures, and no page that
comes before or after.
"""

from typing import Any

from docutils import nodes
from sphinx import addnodes

RUNS = "book/executed/runs/"


def leave_out(app: Any, tree: nodes.document) -> None:
    """Take pages of runs out of a page's trees of contents."""
    for toc in tree.findall(addnodes.toctree):
        toc["entries"] = [one for one in toc["entries"] if not one[1].startswith(RUNS)]
        toc["includefiles"] = [page for _, page in toc["entries"] if page]


def mark(app: Any, tree: nodes.document) -> None:
    """A page of a run is in no tree on purpose, and not to be found by searching."""
    if app.env.docname.startswith(RUNS):
        app.env.metadata[app.env.docname] |= {"orphan": "", "nosearch": ""}


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("doctree-read", leave_out, priority=100)  # before it is collected
    app.connect("doctree-read", mark, priority=900)
    app.add_css_file("runs.css")
    return {"parallel_read_safe": True}
