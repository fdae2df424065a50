"""The ledger: each claim of the paper beside what was measured, and the commands."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

import workflow
from analysis import FEWEST
from analysis.claims.claims import CLAIMS, Claim
from analysis.claims.readings import (
    CANNOT,
    EMBEDDED,
    GPU,
    NOT_SEEN,
    OPPOSITE,
    SEEN,
    WORDS,
    Evidence,
    Reading,
    size_of,
)
from analysis.figures.tables import Links
from vicrop.run.cli import to_arguments
from vicrop.run.records import RunConfig
from vicrop.run.stats import Estimate
from workflow import matrix, plans

MODELS = {"llava": "llava-1.5-7b", "instructblip": "instructblip-vicuna-7b"}
"""The models whose crops the paper measures, and their keys here."""

PROBES = (
    "papermill notebooks/claims.ipynb claims-gpu.ipynb -k python3 -p dataset textvqa "
    "-p n 100 -p device cuda -p dtype bfloat16 -y 'models: [{models}]'"
)
"""Makes the probes of models that need a GPU."""


@dataclass(frozen=True)
class Verdict:
    """A reading of one model, judged.

    Attributes:
        claim: that it is of.
        reading: what was measured.
        model: key.
        found: the measurement.
        word: of ``readings.WORDS``: what it says of the claim.
        runs: ids of the runs behind it.
    """

    claim: Claim
    reading: Reading
    model: str
    found: Estimate
    word: str
    runs: tuple[str, ...] = ()


def verdicts(evidence: Evidence, models: Iterable[str]) -> list[Verdict]:
    """All that can be read off of some models: the claims in their order, then they."""
    made = []
    for claim in CLAIMS:
        for model in models:
            for one in claim.of(model):
                if (found := one.of(evidence, model)) is not None:
                    runs = one.runs(evidence, model)
                    word = one.judge(found, one.pictures(evidence, model))
                    made.append(Verdict(claim, one, model, found, word, runs))
    return made


def with_records(evidence: Evidence, embedded: Sequence[str]) -> list[str]:
    """The models that a ledger is of: some toy ones, all real ones with records."""
    others = {model for model, _, _ in evidence.runs if size_of(model) == GPU}
    return list(dict.fromkeys([*embedded, *sorted(others)]))


def counted(judged: Iterable[Verdict]) -> dict[str, int]:
    """How many readings say each word that any says."""
    said = [one.word for one in judged]
    return {word: said.count(word) for word in WORDS if word in said}


# What a claim's readings say together.

STANDINGS = SHOWN, PARTLY, NOT_SHOWN, OTHER_WAY, UNTESTABLE, NOT_RUN = (
    "shown",
    "partly",
    "not shown",
    "the other way",
    "not testable here",
    "not run yet",
)
"""What a claim's row begins with."""
SAID = {
    SEEN: "shown",
    NOT_SEEN: "not shown",
    OPPOSITE: "the other way",
    CANNOT: "cannot be told",
}
"""A reading's word, said of a model."""


@dataclass(frozen=True)
class Standing:
    """A claim's verdict, of the models of one size.

    Attributes:
        claim: that it is of.
        size: of the models.
        mine: all of its readings, judged.
    """

    claim: Claim
    size: str
    mine: Sequence[Verdict] = ()

    @property
    def primary(self) -> list[Verdict]:
        """What the verdict is made of: one reading a model, chosen beforehand."""
        return [one for one in self.mine if one.reading.why]

    @property
    def word(self) -> str:
        """One of ``STANDINGS``; partly is shown in some models and not in all."""
        said = {one.word for one in self.primary}
        told = said - {CANNOT}
        if SEEN in told:
            return SHOWN if said == {SEEN} else PARTLY
        if not told:
            return UNTESTABLE if said or self.never else NOT_RUN
        return OTHER_WAY if told == {OPPOSITE} else NOT_SHOWN

    @property
    def never(self) -> str:
        """Why no record of this size could tell; empty if one could."""
        claim = self.claim
        built = f"by construction: {claim.true}" if claim.true else ""
        return built or (claim.cannot if self.size == EMBEDDED else claim.cannot_gpu)

    @property
    def why(self) -> str:
        """Which models say what, or why none does, in words."""
        if self.never or not self.primary:
            return self.never or "it has no records"
        parts = [
            _said([one for one in self.primary if one.word == word], len(self.primary))
            for word in counted(self.primary)
        ]
        lost = self.word in (NOT_SHOWN, OTHER_WAY)
        if lost and SEEN not in counted(self.mine):
            parts.append("no other reading supports it either")
        return "; ".join(parts)


def _said(those: Sequence[Verdict], count: int) -> str:
    """What some of ``count`` models say alike, and which."""
    word, names = those[0].word, _and(one.model for one in those)
    if len(those) == count > 1:
        names = f"{'all' if word in (SEEN, OPPOSITE) else 'any of'} {count} models"
    return f"{SAID[word]} in {names}{_too_few(those)}"


def _and(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _too_few(those: Sequence[Verdict]) -> str:
    """Why some readings cannot be judged; empty if they can."""
    if those[0].word != CANNOT:
        return ""
    counts = sorted({one.found.n for one in those})
    span = " to ".join(map(str, sorted({counts[0], counts[-1]})))
    few = any(one.found.n < FEWEST or np.isnan(one.found.low) for one in those)
    return f" ({'too few' if few else 'too wide an interval'}, n = {span})"


def standings(judged: Iterable[Verdict], size: str = EMBEDDED) -> list[Standing]:
    """Every claim's verdict of the models of one size, in the claims' order."""
    mine = [one for one in judged if size_of(one.model) == size]
    of = {claim.key: [one for one in mine if one.claim is claim] for claim in CLAIMS}
    return [Standing(claim, size, of[claim.key]) for claim in CLAIMS]


def counts(stand: Iterable[Standing]) -> dict[str, int]:
    """How many claims have each of ``STANDINGS``."""
    said = [one.word for one in stand]
    return {word: said.count(word) for word in STANDINGS}


def interval(found: Estimate, unit: str) -> str:
    """An estimate with its interval; with its sign, if it is a difference."""
    return found.format(1, sign=unit in ("points", "log₂"))


# Every reading, and where it leads.


def details(judged: Iterable[Verdict]) -> pd.DataFrame:
    """One row a reading and model, with its interval, rule and runs."""
    rows = [
        {
            "claim": one.claim.key,
            "model": one.model,
            "measured": one.reading.name,
            "size": size_of(one.model),
            "n": one.found.n,
            "95 % interval": interval(one.found, one.reading.unit),
            "unit": one.reading.unit,
            "seen if": one.reading.seen_if,
            "verdict": one.word,
            "primary": "yes" if one.reading.why else "",
            "records": ", ".join(one.runs or _made_by(one.reading)),
        }
        for one in judged
    ]
    return pd.DataFrame(rows)


def _made_by(reading: Reading) -> list[str]:
    return ["make bench" if "cost" in reading.needs else "probes"]


def address(page: str) -> str:
    """Where a page or a part of it is, from one in ``book/executed``."""
    name, hash_, figure = page.partition("#")
    return f"{name}.html{hash_}{figure}"


def links(judged: Iterable[Verdict] = ()) -> Links:
    """Where the pages of runs are that have one, from one in ``book/executed``."""
    found = {}
    for run in (run for one in judged for run in one.runs):
        if (workflow.executed() / "runs" / f"{run}.ipynb").is_file():
            found[run] = f"runs/{run}.html"
    return found | {"make bench": "cost.html"}


# What would make what is missing.


def commands(evidence: Evidence, claim: Claim) -> list[str]:
    """The shell's commands for the records of real models that a claim lacks."""
    needs = [
        (model, need)
        for model in MODELS.values()
        for need in (need for reading in claim.of(model) for need in reading.needs)
        if evidence.frame(need, model) is None
    ]
    probed = dict.fromkeys(model for model, need in needs if isinstance(need, str))
    runs: dict[tuple[str, str], dict[str, None]] = {}
    for model, need in needs:
        if not isinstance(need, str):
            where = need.model or model, need.dataset
            runs.setdefault(where, {})[need.method] = None
    pages = [PROBES.format(models=", ".join(probed))] if probed else []
    return pages + for_runs(runs)


def for_runs(runs: Mapping[tuple[str, str], Iterable[str]]) -> list[str]:
    """Commands that make whole runs.

    ``make run`` if a size of the matrix has all of them; otherwise ``vicrop run``, a
    command a model and data set.

    Args:
        runs: methods by model and data set.
    """
    asked = []
    for (model, dataset), methods in runs.items():
        whole = RunConfig(model=model, dataset=dataset, device="cuda", dtype="bfloat16")
        asked.append([whole.model_copy(update={"method": m}) for m in methods])
    wanted = {config.run_id for configs in asked for config in configs}
    for size, made in _sizes() if wanted else ():
        if wanted <= made:
            return [f"make run SIZE={size}"]
    return [f"vicrop run {shlex.join(to_arguments(one))}" for one in asked]


@lru_cache(maxsize=1)
def _sizes() -> tuple[tuple[str, frozenset[str]], ...]:
    """The matrix's sizes and their runs' ids, the fewest runs first."""
    found = []
    for size in matrix.read(plans.MATRIX):
        configs, _ = matrix.chosen(plans.MATRIX, size)
        found.append((size, frozenset(config.run_id for config in configs)))
    return tuple(sorted(found, key=lambda pair: len(pair[1])))
