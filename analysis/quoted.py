"""The paper's numbers for its claims, each in one line. None of them is ours."""

from collections.abc import Iterable
from math import sqrt

from analysis import paper
from analysis.paper import METHODS, TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5

BOTH = ("llava", "instructblip")


def gains(model: str, *datasets: str) -> str:
    """The paper's gains of its three methods, in a line."""
    return "; ".join(
        f"{name}: " + paper.listed({m: TABLE_2.change(model, m, name) for m in METHODS})
        for name in datasets
    )


def gains_and_losses(model: str, datasets: Iterable[str]) -> str:
    """A model's gains in the paper, then where either model loses, in a line."""
    names = tuple(datasets)
    return f"{model}: {gains(model, *names)}; {losses(*names)}"


def losses(*datasets: str) -> str:
    """Where the paper's methods lose, both models, in a line."""
    changes = {
        f"{model} {method} {name}": TABLE_2.change(model, method, name)
        for model in BOTH
        for method in METHODS
        for name in datasets
    }
    lost = {name: change for name, change in changes.items() if change < 0}
    return f"the only losses of both models: {paper.listed(lost)}"


def apart(*datasets: str) -> str:
    """The paper's gains of LLaVA-1.5 less InstructBLIP's, in a line."""
    ours, theirs = BOTH
    return "; ".join(
        f"{name}: "
        + paper.listed(
            {
                m: TABLE_2.change(ours, m, name) - TABLE_2.change(theirs, m, name)
                for m in METHODS
            }
        )
        for name in datasets
    )


def tiles(model: str) -> str:
    """The paper's V* with tiles minus without, in a line."""
    return paper.listed(
        {
            m: TABLE_3.value(model, m, "with tiles")
            - TABLE_3.value(model, m, "without tiles")
            for m in METHODS
        }
    )


def half_width(dataset: str) -> float:
    """Half of an unpaired 95 % interval of an accuracy, points, at its widest.

    Of as many questions as the paper has (calculated: it prints no intervals).
    """
    return 100 * 1.96 * 0.5 / sqrt(TABLE_5.value("all", "questions", dataset))


def averaged() -> str:
    """The paper's mean of all layers less the selected layer, in a line."""
    found = {
        f"{model} {method}": TABLE_3.value(model, method, "mean of all layers")
        - TABLE_3.value(model, method, "selected layer")
        for model in BOTH
        for method in ("rel-att", "grad-att")
    }
    return paper.listed(found)


def human(model: str) -> str:
    """The paper's gains of a human crop, small to large, in a line."""
    gains = (
        TABLE_1.change(model, "human-crop", g) for g in ("small", "medium", "large")
    )
    return f"{model} " + " / ".join(map(paper.points, gains))


def fall(models: Iterable[str]) -> str:
    """The paper's large less small objects, in a line."""
    found = {
        m: TABLE_1.value(m, "no-crop", "large") - TABLE_1.value(m, "no-crop", "small")
        for m in models
    }
    return "large minus small: " + paper.listed(found)


def best(model: str, methods: Iterable[str]) -> float:
    """The paper's best number on TextVQA of some crops."""
    return max(TABLE_4.value(model, method, "TextVQA") for method in methods)


def tools() -> str:
    """The paper's external tools beside its maps, in a line."""
    worst = {m: min(TABLE_4.value(m, k, "TextVQA") for k in METHODS) for m in BOTH}
    tools = {m: best(m, ("sam", "yolo", "clip")) for m in BOTH}
    return "; ".join(
        f"{m}: best tool {tools[m]:.2f}, worst of the three maps {worst[m]:.2f}"
        for m in BOTH
    )
