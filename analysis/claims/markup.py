"""The ledger as HTML: a square and a row a claim, a strip of what was measured."""

from collections.abc import Callable, Iterable, Sequence
from html import escape
from math import isnan

from IPython.display import HTML

from analysis.claims import ledger
from analysis.claims.ledger import STANDINGS, Standing, Verdict
from analysis.claims.readings import EMBEDDED, GPU, SIZES, Evidence

SIGNS = dict(zip(STANDINGS, "✓◐○✗––", strict=True))
"""A verdict's sign, beside its colour and its word."""
CLASSES = dict(
    zip(STANDINGS, "shown partly not opposite none none".split(), strict=True)
)
"""Its name in ``ledger.css``."""
SAID = {EMBEDDED: "toy models, drawn scenes", GPU: "real models, photographs"}
"""What a size is."""
CHECKED = ' checked=""'
HEADS = ("verdict", "the claim", "the paper's number", "measured", "page")


def squares(stand: Sequence[Standing], page: str = "") -> str:
    """A square a claim with its sign, and how many have each.

    Args:
        stand: of all claims, of one size.
        page: where their rows are; empty for this one.
    """
    cells = "".join(_square(one, page) for one in stand)
    told = (
        f'<span class="{CLASSES[word]}">{SIGNS[word]}</span> {count} {word}'
        for word, count in ledger.counts(stand).items()
        if count
    )
    return (
        f'<ul class="squares" aria-label="verdicts">{cells}</ul>'
        f'<p class="counts">{" · ".join(told)}</p>'
    )


def _square(one: Standing, page: str) -> str:
    name = escape(f"{one.claim.key}, {one.word}: {one.claim.statement}")
    return (
        f'<li{_core(one)}><a class="{CLASSES[one.word]}" title="{name}" '
        f'aria-label="{name}" href="{page}#{_id(one)}">{SIGNS[one.word]}</a></li>'
    )


def _id(one: Standing) -> str:
    return f"{one.size}-{one.claim.key}"


def _core(one: Standing) -> str:
    return ' class="core"' if one.claim.core else ""


def board(evidence: Evidence, judged: Sequence[Verdict]) -> HTML:
    """The whole ledger, of toy and of real models, one of which is shown at a time."""
    parts = [_of_size(evidence, ledger.standings(judged, size)) for size in SIZES]
    choices = _choice("which", "claims", {"all": "all", "core": "only the core"})
    choices += _choice("size", "models", SAID)
    return HTML(f'<div class="ledger">{choices}{"".join(parts)}</div>')


def _choice(name: str, legend: str, options: dict[str, str]) -> str:
    """Radio buttons, the first one chosen; the style sheet acts on them."""
    first = next(iter(options))
    made = (
        f'<label><input type="radio" name="ledger-{name}" value="{value}"'
        f"{CHECKED * (value == first)}/> {escape(said)}</label>"
        for value, said in options.items()
    )
    return f"<fieldset><legend>{legend}</legend>{''.join(made)}</fieldset>"


def _of_size(evidence: Evidence, stand: Sequence[Standing]) -> str:
    size = stand[0].size
    models = list(dict.fromkeys(v.model for one in stand for v in one.primary))
    told, folded = (
        "".join(_row(evidence, one, models) for one in stand if bool(one.never) is side)
        for side in (False, True)
    )
    count = sum(bool(one.never) for one in stand)
    heads = "".join(f"<span>{head}</span>" for head in HEADS)
    return (
        f'<section class="{size}" aria-label="{SAID[size]}">{squares(stand)}'
        f"{_legend(models)}"
        f'<div class="heads" aria-hidden="true">{heads}</div><ol>{told}</ol>'
        f"<details><summary>{count} claims that {size} models cannot test here, and "
        f"why</summary><ol>{folded}</ol></details></section>"
    )


def _legend(models: Sequence[str]) -> str:
    """Which line of a strip is whose."""
    if not models:
        return "<p>No real model has finished runs in this book yet.</p>"
    names = ", ".join(f"{'○' if hollow(one) else '●'} {one}" for one in models)
    return (
        f"<p>Dots, from above: {escape(names)}, each with its 95 % interval; ◆ the "
        "paper's, where it has the same unit. Shaded: the claim's side.</p>"
    )


def hollow(model: str) -> bool:
    """Whether it is the one trained without the mask, which is drawn hollow."""
    return "-unmasked" in model


def _row(evidence: Evidence, one: Standing, models: Sequence[str]) -> str:
    claim = one.claim
    leads = escape(ledger.address(claim.page))
    name = claim.page.partition("#")[0].replace("_", " ")
    return (
        f'<li id="{_id(one)}" class="{CLASSES[one.word]}{" core" * bool(claim.core)}">'
        f'<p class="verdict"><span>{SIGNS[one.word]}</span> {one.word}</p>'
        f'<div class="says"><p><b>{claim.key}</b> {escape(claim.statement)}</p>'
        f'<p class="why">{escape(one.why)}</p></div>'
        f'<p class="theirs"><i>the paper\'s:</i> {escape(claim.number)}</p>'
        f'<div class="strip">{strip(one.primary, models, claim.theirs.values())}</div>'
        f'<p class="page"><a href="{leads}">{escape(name)}</a></p>'
        f"<details><summary>how it was read</summary>{_read(evidence, one)}</details>"
        "</li>"
    )


def _read(evidence: Evidence, one: Standing) -> str:
    """Rule, primary reading and why, numbers, other readings, command."""
    told = (
        f"<b>Primary reading</b>: {escape(reading.name)}; shown if "
        f"{escape(reading.seen_if)}. Chosen because: {escape(reading.why)}."
        for reading in dict.fromkeys(v.reading for v in one.primary)
    )
    lines = [*told, f"<b>In the paper</b>: {escape(one.claim.paper)}."]
    if one.claim.core:
        lines.append(f"<b>Core</b>, {escape(one.claim.core)}.")
    others = ledger.counted(v for v in one.mine if not v.reading.why)
    if others:
        said = ", ".join(f"{n} {ledger.SAID[word]}" for word, n in others.items())
        link = '<a href="readings.html#each-claim-s-readings">every reading</a>'
        lines.append(f"<b>Other readings</b>: {said} ({link}).")
    lines += [f"<b>Command</b>: <code>{escape(c)}</code>" for c in _made(evidence, one)]
    return _numbers(one.primary) + "".join(f"<p>{line}</p>" for line in lines)


def _made(evidence: Evidence, one: Standing) -> list[str]:
    if one.never:
        return []
    real = one.size == GPU
    return ledger.commands(evidence, one.claim) if real else ["make book"]


def _numbers(judged: Iterable[Verdict]) -> str:
    rows = "".join(
        f"<tr><td>{escape(one.model)}</td><td>{escape(_measured(one))}"
        f"</td><td>{one.found.n}</td><td>{ledger.SAID[one.word]}</td></tr>"
        for one in judged
    )
    heads = "".join(
        f'<th scope="col">{h}</th>' for h in ("model", "measured, 95 %", "n", "verdict")
    )
    return f"<table><tr>{heads}</tr>{rows}</table>" if rows else ""


def _measured(one: Verdict) -> str:
    return f"{ledger.interval(one.found, one.reading.unit)} {one.reading.unit}"


# A strip.

WIDE, LINE, EDGE, LABEL = 160, 10, 8, 14
"""Pixels: of a strip, a model's line, what is free at its ends, and the words below."""


def strip(
    judged: Sequence[Verdict], models: Sequence[str], theirs: Iterable[float] = ()
) -> str:
    """An SVG: a line a model with its interval, no effect, and the claim's side.

    Args:
        judged: one reading a model, all in the same unit.
        models: a line each, also those that are not judged.
        theirs: the paper's numbers, in that unit.
    """
    drawn = [one for one in judged if one.reading.rule and one.found.n]
    rule = drawn[0].reading.rule if drawn else None
    if rule is None:
        return ""
    numbers, null = list(theirs), rule.null
    ends = [v for one in drawn for v in (one.found.low, one.found.high)]
    known = [null, *numbers, *ends, *(one.found.value for one in drawn)]
    at = _scale([value for value in known if not isnan(value)])
    unit, below = escape(drawn[0].reading.unit), LINE * (len(models) + bool(numbers))
    middle = min(max(at(null), 22), WIDE - 22)
    parts = [_line(one, LINE * models.index(one.model), at) for one in drawn]
    parts.append(f'<path class="null" d="M{at(null)} 0V{below}"/>')
    parts += [f'<path d="M{at(v)} {below - 9}l4 4-4 4-4-4z"/>' for v in numbers]
    parts.append(f'<text x="{middle}" y="{below + 11}">{null:g} {unit}</text>')
    said = (f"{v.model} {ledger.interval(v.found, v.reading.unit)}" for v in drawn)
    return (
        f'<svg role="img" aria-label="{escape("; ".join(said))} {unit}" '
        f'width="{WIDE}" height="{below + LABEL}">{"".join(parts)}</svg>'
    )


def _scale(values: Sequence[float]) -> Callable[[float], float]:
    """Pixels from the left; what lies beyond all values is at the strip's edge."""
    low, high = min(values), max(values)

    def at(value: float) -> float:
        share = (value - low) / ((high - low) or 1)
        return round(min(max(EDGE + (WIDE - 2 * EDGE) * share, 0), WIDE), 1)

    return at


def _line(one: Verdict, top: int, at: Callable[[float], float]) -> str:
    """The claim's side, the interval and the dot of one model."""
    found, rule = one.found, one.reading.rule
    assert rule is not None
    left, right, middle = at(rule.low), at(rule.high), top + LINE / 2
    side = f'<rect x="{left}" y="{top}" width="{right - left:.1f}" height="{LINE}"/>'
    reach = f'<path class="reach" d="M{at(found.low)} {middle}H{at(found.high)}"/>'
    kind = ' class="hollow"' if hollow(one.model) else ""
    dot = f'<circle{kind} cx="{at(found.value)}" cy="{middle}" r="3.5"/>'
    return side + ("" if isnan(found.low) else reach) + dot
