"""One block of HTML in which saved maps are looked at: no model, no network."""

import base64
import hashlib
import html
import json
from collections import Counter
from pathlib import Path
from string import Template
from typing import Any

from matplotlib.figure import Figure

from analysis import figures
from analysis.explorer import sprites
from analysis.explorer.sprites import PROMPTS, Sheet
from analysis.explorer.store import Asked, Said, Saved
from vicrop.types import Box, Map

MOST_BYTES = 3_000_000
"""A page with more is slow to load and to keep in git."""

LABEL = "Explorer: where a model looks"
OFF = (
    "This explorer needs its script. In Jupyter, run the cell or trust the notebook; "
    "without a script, the figure below shows the same maps."
)

_HERE = Path(__file__).parent
_DISPLAYED: Counter[str] = Counter()
"""How often each block was shown in this process: ids must not repeat in a page."""


class Explorer:
    """Choose question, model, layer, head and prompt, and see where it looks.

    The last value of a cell in Jupyter shows it; ``html`` is the block itself.

    Args:
        saved: what models looked at.
        every: show every so many layers (and the map's own), where a model has many.

    Raises:
        ValueError: if the block would be larger than ``MOST_BYTES``.
    """

    def __init__(self, saved: Saved, every: int = 1):
        self.saved = saved
        self.data = json_of(contents(saved, every))
        if self.size > MOST_BYTES:
            raise ValueError(
                f"the explorer would have {self.size / 1e6:.1f} MB, at most "
                f"{MOST_BYTES / 1e6:.0f} are allowed; save fewer questions or models, "
                "or show fewer layers with every=4"
            )

    @property
    def name(self) -> str:
        """Of this block, from a hash of what it holds."""
        return "vicrop-" + hashlib.sha256(self.data.encode()).hexdigest()[:12]

    @property
    def size(self) -> int:
        """Of the block, bytes."""
        return len(self.html().encode())

    def html(self, name: str = "") -> str:
        """The whole block: style, controls, data and script.

        Args:
            name: its element's id; empty for ``name``.
        """
        name = name or self.name
        block = (
            f'<div class="vicrop-explorer tex2jax_ignore mathjax_ignore" id="{name}"'
            ' role="group"'
            f' aria-label="{LABEL}" data-lm-suppress-shortcuts="true">'
            f"<p>{OFF}</p></div>"
        )
        given = f"{json.dumps(name)}, {json_of(self.panel(name))}, {self.data}"
        script = (_HERE / "page.js").read_text(encoding="utf-8").strip()
        style = (_HERE / "page.css").read_text(encoding="utf-8")
        return f"<style>{style}</style>\n{block}\n<script>({script})({given});</script>"

    def panel(self, name: str) -> str:
        """All that the script fills, its ids beginning with ``name``."""
        page = Template((_HERE / "page.html").read_text(encoding="utf-8"))
        index = self.saved.index
        methods = {
            "layer": "last token: attention of one layer",
            "words": "one word: attention of one layer",
        } | {method: f"{method}: its final map" for method in index.said[0].crops}
        samples = [f"{n + 1}: {asked.question}" for n, asked in enumerate(index.asked)]
        return page.substitute(
            id=name,
            samples=options(dict(enumerate(samples)), 0),
            models=options({model: model for model in self.saved.models}, None),
            methods=options(methods, "layer"),
            prompts=options({prompt: prompt for prompt in PROMPTS}, "ratio"),
        )

    def __repr__(self) -> str:
        index = self.saved.index
        return (
            f"Explorer({len(index.asked)} questions, {len(self.saved.models)} models)"
        )

    def _repr_html_(self) -> str:
        name, times = self.name, _DISPLAYED[self.name]
        _DISPLAYED[name] += 1
        return self.html(f"{name}-{times}" if times else name)


def options(names: dict[Any, str], chosen: Any) -> str:
    """``<option>`` elements, their texts escaped."""
    return "".join(
        f'<option value="{html.escape(str(value))}"'
        f"{' selected' if value == chosen else ''}>{html.escape(name)}</option>"
        for value, name in names.items()
    )


def json_of(value: Any) -> str:
    """JSON that ends no script element, whatever a text in it says."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e")


def contents(saved: Saved, every: int = 1) -> dict[str, Any]:
    """All that the script reads."""
    looks: dict[int, dict[str, Any]] = {}
    for said in saved.index.said:
        looks.setdefault(said.sample, {})[said.model] = _look(saved, said, every)
    return {
        "scale": sprites.SCALE,
        "samples": [
            _sample(asked, image)
            for asked, image in zip(saved.index.asked, saved.images, strict=True)
        ],
        "looks": [looks[number] for number in range(len(saved.index.asked))],
    }


def _sample(asked: Asked, image: bytes) -> dict[str, Any]:
    return {
        "question": asked.question,
        "labels": asked.labels,
        "size": asked.size,
        "truth": asked.boxes[0] if asked.boxes else None,
        "alt": f"The image that is asked: {asked.question}",
        "image": data_uri(image, "jpeg"),
    }


def _look(saved: Saved, said: Said, every: int) -> dict[str, Any]:
    count = len(saved.array(said, PROMPTS[0]))
    layers = sprites.shown_layers(count, said.layer, every)
    made = {name: sprites.of_prompt(saved, said, name, layers) for name in PROMPTS}
    made["methods"] = sprites.of_methods(saved, said)
    made["words"] = sprites.of_words(saved, said, layers)
    return {
        "layer": said.layer,
        "layers": layers,
        "plain": said.plain,
        "tokens": list(said.tokens),
        "methods": list(said.crops),
        "crops": {method: crop.text for method, crop in said.crops.items()},
        "pictures": {name: picture(one) for name, one in made.items()},
    }


def picture(made: Sheet) -> dict[str, Any]:
    """A sprite, with the values, crops and ratios of its maps."""
    lines, columns, rows, cols = made.values.shape
    return {
        "png": data_uri(sprites.sprite(made.values), "png"),
        "lines": lines,
        "columns": columns,
        "rows": rows,
        "cols": cols,
        "region": made.region,
        "peaks": _rounded(made.peaks.tolist()),
        "places": made.places.tolist(),
        "values": sprites.packed(made.values),
        "crops": made.crops(),
        "ratios": _rounded(made.ratios()),
    }


def _rounded(values: Any) -> Any:
    """Numbers to five digits, in lists of lists."""
    if isinstance(values, list):
        return [_rounded(one) for one in values]
    return None if values is None else float(f"{values:.5g}")


def data_uri(file: bytes, kind: str) -> str:
    """A picture inside the page."""
    return f"data:image/{kind};base64,{base64.b64encode(file).decode()}"


def figure(saved: Saved, sample: int = 0, most: int = 5) -> Figure:
    """The same maps as a figure: a row a model; layers' ratios, then the methods.

    Args:
        saved: what models looked at.
        sample: which question.
        most: layers to be drawn of each model, evenly spread, the map's own among them.
    """
    asked = saved.index.asked[sample]
    said = [one for one in saved.index.said if one.sample == sample]
    rows = {one.model: _row(saved, one, most) for one in said}
    return figures.grid(saved.image(sample), rows, asked.boxes, side=1.7)


def _row(saved: Saved, said: Said, most: int) -> dict[str, tuple[Map, Box | None]]:
    count = len(saved.array(said, PROMPTS[0]))
    layers = sprites.shown_layers(count, said.layer, -(-count // most))
    lines = sprites.of_prompt(saved, said, "ratio", layers).each(lambda amap: amap)
    shown: dict[str, tuple[Map, Box | None]] = {
        f"layer {n}{' (map)' if n == said.layer else ''}": (mean, None)
        for n, (mean, *_) in zip(layers, lines, strict=True)
        if mean is not None
    }
    for method, crop in said.crops.items():
        shown[f"{method}: “{crop.text}”"] = saved.amap(said, method), crop.box
    return shown
