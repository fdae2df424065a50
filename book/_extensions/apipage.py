"""What the page on the package needs beyond autodoc: this tree, short, and no lists."""

import inspect
import re
import sys
from pathlib import Path
from typing import Any, get_type_hints

from sphinx.util.inspect import stringify_signature
from sphinx.util.typing import stringify_annotation

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # not another tree's package that is installed


def aliases() -> dict[str, str]:
    """Types that have a name of their own, by what they would be written out as."""
    from numpy.typing import ArrayLike

    from vicrop.images import ImageLike
    from vicrop.types import Region

    named = {"ArrayLike": ArrayLike, "ImageLike": ImageLike, "Region": Region}
    return {stringify_annotation(kind, "smart"): name for name, kind in named.items()}


def checked(kind: type) -> str:
    """The signature of a class of checked fields, without what is checked."""
    found, hints = inspect.signature(kind), get_type_hints(kind)
    plain = [
        one.replace(annotation=hints[one.name]) for one in found.parameters.values()
    ]
    return stringify_signature(
        found.replace(parameters=plain),
        show_return_annotation=False,
        unqualified_typehints=True,
    )


def shorten(
    app: Any, what: str, name: str, kind: Any, options: Any, given: str, result: str
) -> tuple[str, str]:
    """A signature with its types called by their names."""
    if what == "class" and hasattr(kind, "model_fields"):
        given = checked(kind)
    for long, short in aliases().items():
        given = (given or "").replace(long, short)
        result = (result or "").replace(long, short)
    return given, result


def lines(app: Any, page: str, template: str, context: dict, tree: Any) -> None:
    """Signatures' lines as what they are: Sphinx makes lists without terms of them."""
    if "sig-param" in context.get("body", ""):
        context["body"] = SIGNATURE.sub(divided, context["body"])


SIGNATURE = re.compile(r"<dl>\n((?:<dd><(?:em|span) class=\"sig-.*</dd>\n)+)</dl>")
LINE = '<div style="padding-left: 2em">'


def divided(found: re.Match) -> str:
    """A line of a signature each, in boxes that say nothing about themselves."""
    return found[1].replace("<dd>", LINE).replace("</dd>", "</div>")


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", shorten)
    app.connect("html-page-context", lines)
    return {"parallel_read_safe": True}
