"""Numbers of the paper, each with its place in it. None of them is ours.

Source: arXiv 2502.17422v1; percent unless said. Differences are computed from them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import sqrt

import pandas as pd

from vicrop.methods import PAPER

MODELS = {
    "blip-2": "BLIP-2 (FlanT5-XL)",
    "instructblip": "InstructBLIP (Vicuna-7B)",
    "llava": "LLaVA-1.5 (Vicuna-7B)",
    "qwen-vl": "Qwen-VL (Qwen-7B)",
    "gpt-4o": "GPT-4o",
    "llava-next": "LLaVA-NeXT (Mistral-7B)",
}
"""What the paper's models are called here, and there."""

BOTH = ("llava", "instructblip")
"""Those whose crops it measures."""
DETAILED = ("textvqa", "vstar", "pope", "docvqa")
"""Data sets that the paper calls sensitive to detail (Table 2)."""
GENERAL = ("aokvqa", "gqa", "vqav2")
"""Data sets that it takes to be about larger things (Table 2)."""
VSTAR_QUESTIONS = 191


@dataclass(frozen=True)
class Table:
    """One table of the paper.

    Attributes:
        place: where it stands there.
        about: what its numbers are.
        columns: their names.
        rows: (model, row) -> a number a column; None where it has none.
    """

    place: str
    about: str
    columns: tuple[str, ...]
    rows: Mapping[tuple[str, str], tuple[float | None, ...]]

    def value(self, model: str, row: str, column: str) -> float:
        """One of the paper's numbers.

        Raises:
            ValueError: if the table has none there.
        """
        cells = self.rows.get((model, row), ())
        found = dict(zip(self.columns, cells, strict=False)).get(column)
        if found is None:
            raise ValueError(
                f"the paper's {self.place} has no number for {model}, {row}, {column}"
            )
        return found

    def change(self, model: str, row: str, column: str, base: str = "no-crop") -> float:
        """One of the paper's numbers less another of the same model and column."""
        less = self.value(model, base, column)
        return round(self.value(model, row, column) - less, 2)

    def apart(self, model: str, row: str, column: str, base: str) -> float:
        """One of the paper's numbers less that of another column of its row."""
        return round(self.value(model, row, column) - self.value(model, row, base), 2)

    def frame(self) -> pd.DataFrame:
        """The table to be read, marked as the paper's."""
        cells = [
            ["–" if cell is None else f"{cell:.2f}" for cell in row]
            for row in self.rows.values()
        ]
        frame = pd.DataFrame(cells, columns=list(self.columns))
        frame.insert(0, "model (the paper's)", [MODELS.get(m, m) for m, _ in self.rows])
        frame.insert(1, "of", [row for _, row in self.rows])
        return frame


GROUP_COUNTS = {"small": 773, "medium": 2411, "large": 1186}
"""TextVQA questions of each size group (the paper's section 3 and appendix B)."""

TABLE_1 = Table(
    "Table 1",
    "accuracy on TextVQA by size of the object",
    ("small", "medium", "large"),
    {
        ("blip-2", "no-crop"): (12.13, 19.57, 36.32),
        ("blip-2", "human-crop"): (55.76, 52.02, 45.73),
        ("instructblip", "no-crop"): (21.79, 30.58, 45.30),
        ("instructblip", "human-crop"): (69.60, 61.56, 53.39),
        ("llava", "no-crop"): (39.38, 47.74, 50.65),
        ("llava", "human-crop"): (69.95, 65.36, 56.96),
        ("qwen-vl", "no-crop"): (56.42, 65.09, 68.60),
        ("qwen-vl", "human-crop"): (70.35, 75.49, 71.05),
        ("gpt-4o", "no-crop"): (65.76, 72.81, 69.17),
        ("gpt-4o", "human-crop"): (75.63, 81.32, 71.72),
    },
)
"""The paper's."""

SEVEN = ("textvqa", "vstar", "pope", "docvqa", "aokvqa", "gqa", "vqav2")

TABLE_2 = Table(
    "Table 2",
    "accuracy on seven data sets, V* with the high-resolution variant",
    SEVEN,
    {
        ("llava", "no-crop"): (47.80, 42.41, 85.27, 15.97, 59.01, 60.48, 75.57),
        ("llava", "rel-att"): (55.17, 62.30, 87.25, 19.63, 60.66, 60.97, 76.51),
        ("llava", "grad-att"): (56.06, 57.07, 87.03, 19.84, 59.94, 60.98, 76.06),
        ("llava", "pure-grad"): (51.67, 46.07, 86.06, 17.70, 59.92, 60.54, 75.94),
        ("instructblip", "no-crop"): (33.48, 35.60, 84.89, 9.20, 60.06, 49.41, 76.25),
        ("instructblip", "rel-att"): (45.44, 42.41, 86.64, 9.95, 61.28, 49.75, 76.84),
        ("instructblip", "grad-att"): (45.71, 37.70, 86.99, 10.81, 61.77, 50.33, 76.08),
        ("instructblip", "pure-grad"): (42.23, 37.17, 86.84, 8.99, 61.60, 50.08, 76.71),
    },
)
"""The paper's."""

TABLE_3 = Table(
    "Table 3",
    "accuracy by layer (TextVQA) and by resolution (V*)",
    ("selected layer", "mean of all layers", "with tiles", "without tiles"),
    {
        ("llava", "no-crop"): (47.80, None, 42.41, 42.41),
        ("llava", "rel-att"): (55.17, 55.45, 62.30, 47.64),
        ("llava", "grad-att"): (56.06, 56.26, 57.07, 49.74),
        ("llava", "pure-grad"): (51.67, None, 46.07, 45.03),
        ("instructblip", "no-crop"): (33.48, None, 35.60, 35.60),
        ("instructblip", "rel-att"): (45.44, 44.40, 42.41, 38.74),
        ("instructblip", "grad-att"): (45.71, 44.98, 37.70, 42.41),
        ("instructblip", "pure-grad"): (42.23, None, 37.17, 42.41),
    },
)
"""The paper's."""

TABLE_4 = Table(
    "Table 4",
    "accuracy on TextVQA; overhead of each method, seconds (no-crop: one answer token)",
    ("TextVQA", "CPU, s", "GPU, s"),
    {
        ("llava", "no-crop"): (47.80, 2.26, 0.17),
        ("llava", "sam"): (49.42, 91.53, 3.33),
        ("llava", "yolo"): (48.84, 0.97, 0.35),
        ("llava", "clip"): (48.55, 5.46, 1.07),
        ("llava", "rel-att"): (55.17, 14.43, 1.16),
        ("llava", "grad-att"): (56.06, 11.33, 0.89),
        ("llava", "pure-grad"): (51.67, 29.86, 2.36),
        ("instructblip", "no-crop"): (33.48, 0.66, 0.06),
        ("instructblip", "sam"): (39.23, 91.53, 3.33),
        ("instructblip", "yolo"): (36.49, 0.97, 0.35),
        ("instructblip", "clip"): (39.61, 5.46, 1.07),
        ("instructblip", "rel-att"): (45.44, 4.35, 0.28),
        ("instructblip", "grad-att"): (45.71, 3.78, 0.29),
        ("instructblip", "pure-grad"): (42.23, 7.04, 0.60),
    },
)
"""The paper's. Tools' seconds are one value for both models there."""

TABLE_5 = Table(
    "Table 5",
    "questions of each data set (in appendix B)",
    SEVEN,
    {("all", "questions"): (5000, 191, 8910, 5349, 1145, 10781, 50000)},
)
"""The paper's."""

TABLE_6 = Table(
    "Table 6",
    "a model trained at higher resolution (in appendix D)",
    ("textvqa", "vstar"),
    {
        ("llava-next", "no-crop"): (65.17, 58.11),
        ("llava-next", "rel-att"): (68.65, 61.78),
    },
)
"""The paper's."""

TABLE_7 = Table(
    "Table 7",
    "trained SEAL against LLaVA-1.5 with rel-att (in appendix E); seconds a question",
    (*SEVEN, "seconds"),
    {
        ("seal", "trained"): (36.30, 75.30, 82.40, 5.31, 55.34, 50.18, 65.35, 4.44),
        ("llava", "rel-att"): (55.17, 62.30, 87.25, 19.63, 60.66, 60.97, 76.29, 1.88),
    },
)
"""The paper's. Its VQAv2 number of rel-att is not that of Table 2."""

OCR = Table(
    "appendix A",
    "accuracy on TextVQA with OCR tokens in the prompt",
    ("textvqa",),
    {("llava", "no-crop"): (59.80,), ("llava", "rel-att"): (63.95,)},
)
"""The paper's."""

FIGURE_3_LAYERS = {
    "blip-2": (24, 6),
    "instructblip": (32, 6),
    "qwen-vl": (32, 1),
    "llava": (32, 1),
}
"""Layers of the language model and of the connector over which the paper's Figure 3
draws its attention ratios. It is curves without a table: there are no values to list.
"""


def answer_tokens(model: str, method: str, column: str = "GPU, s") -> float:
    """A method's overhead in the paper's Table 4, in its time for one answer token."""
    token = TABLE_4.value(model, "no-crop", column)
    return TABLE_4.value(model, method, column) / token


def half_width(dataset: str) -> float:
    """Half of an unpaired 95 % interval of an accuracy, points, at its widest.

    Of as many questions as the paper has (calculated: it prints no intervals).
    """
    return 100 * 1.96 * 0.5 / sqrt(TABLE_5.value("all", "questions", dataset))


def points(value: float) -> str:
    """A difference as it is written in a table.

    >>> points(-0.17), points(7.37)
    ('−0.17', '+7.37')
    """
    return f"{value:+.2f}".replace("-", "−")


# Its numbers for a claim, each in one line.


def listed(values: Mapping[str, float]) -> str:
    """Differences by what they are of."""
    return ", ".join(f"{name} {points(value)}" for name, value in values.items())


def fall(models: Iterable[str]) -> str:
    """Large less small objects, without a crop."""
    found = {m: TABLE_1.apart(m, "no-crop", "large", "small") for m in models}
    return "large minus small: " + listed(found)


def human(model: str) -> str:
    """A model's gains of a human crop, small to large."""
    gains = (TABLE_1.change(model, "human-crop", group) for group in TABLE_1.columns)
    return f"{model} " + " / ".join(map(points, gains))


def gains_and_losses(model: str, datasets: Iterable[str]) -> str:
    """A model's gains of each method, then where either model loses."""
    names = tuple(datasets)
    gains = "; ".join(
        f"{name}: " + listed({m: TABLE_2.change(model, m, name) for m in PAPER})
        for name in names
    )
    changes = {
        f"{one} {method} {name}": TABLE_2.change(one, method, name)
        for one in BOTH
        for method in PAPER
        for name in names
    }
    losses = listed({key: change for key, change in changes.items() if change < 0})
    return f"{model}: {gains}; the only losses of both models: {losses}"


def gains_apart(*datasets: str) -> str:
    """The gains of LLaVA-1.5 less InstructBLIP's."""
    told = []
    for name in datasets:
        ours, theirs = ({m: TABLE_2.change(b, m, name) for m in PAPER} for b in BOTH)
        told.append(f"{name}: " + listed({m: ours[m] - theirs[m] for m in PAPER}))
    return "; ".join(told)


def tiles(model: str) -> str:
    """A model's V* with tiles minus without."""
    columns = ("with tiles", "without tiles")
    return listed({m: TABLE_3.apart(model, m, *columns) for m in PAPER})


def averaged() -> str:
    """The mean of all layers less the selected layer."""
    columns = ("mean of all layers", "selected layer")
    found = {
        f"{model} {method}": TABLE_3.apart(model, method, *columns)
        for model in BOTH
        for method in ("rel-att", "grad-att")
    }
    return listed(found)


def tools() -> str:
    """The external tools beside the maps."""
    told = []
    for model in BOTH:
        external, maps = (
            [TABLE_4.value(model, row, "TextVQA") for row in rows]
            for rows in (("sam", "yolo", "clip"), PAPER)
        )
        best, worst = f"{max(external):.2f}", f"{min(maps):.2f}"
        told.append(f"{model}: best tool {best}, worst of the three maps {worst}")
    return "; ".join(told)
