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
from analysis.claims.evidence import EMBEDDED, GPU, Evidence, size_of
from analysis.claims.readings import CANNOT, WORDS, Reading
from analysis.figures.tables import Links
from vicrop.run.cli import to_arguments
from vicrop.run.records import RunConfig
from vicrop.run.stats import Estimate
from workflow import matrix, plans

MODELS = {"llava": "llava-1.5-7b", "instructblip": "instructblip-vicuna-7b"}
"""The models whose crops the paper measures, and their keys here."""

PROBES = (
    "papermill notebooks/claims.ipynb claims-gpu.ipynb -k python3 -p dataset textvqa "
    "-p device cuda -p dtype bfloat16 -y 'models: [{models}]'"
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
    """The models that a ledger is of: some embedded ones, all others with records."""
    others = {model for model, _, _ in evidence.runs if size_of(model) == GPU}
    return list(dict.fromkeys([*embedded, *sorted(others)]))


def at(size: str, judged: Iterable[Verdict]) -> list[Verdict]:
    """The verdicts of models of one size."""
    return [one for one in judged if size_of(one.model) == size]


def counted(judged: Iterable[Verdict]) -> dict[str, int]:
    """How many readings say each word."""
    said = [one.word for one in judged]
    return {word: said.count(word) for word in WORDS}


BUILT, MIXED = "by construction", "mixed"
STANDINGS = (*WORDS, MIXED, BUILT)
"""What a claim's row begins with."""


def standings(judged: Sequence[Verdict]) -> dict[str, str]:
    """Each claim's verdicts as one word of ``STANDINGS``, by its key."""
    found = {}
    for claim in CLAIMS:
        told = {one.word for one in judged if one.claim.key == claim.key}
        one = MIXED if len(told) > 1 else next(iter(told), CANNOT)
        found[claim.key] = BUILT if claim.true else one
    return found


def outcome(mine: Sequence[Verdict]) -> str:
    """A claim's verdicts as one, in words; counted where they differ."""
    why = f": {_why(mine)}" if any(one.word == CANNOT for one in mine) else ""
    counts = {word: count for word, count in counted(mine).items() if count}
    if len(counts) == 1:
        return mine[0].word + (why or f" ({len(mine)} of {len(mine)} readings)")
    first, *others = (f"{word} in {count}" for word, count in counts.items())
    return f"{MIXED}: " + ", ".join([f"{first} of {len(mine)} readings", *others]) + why


def _why(mine: Iterable[Verdict]) -> str:
    """Why some readings cannot be judged."""
    found = [one.found for one in mine if one.word == CANNOT]
    few = [one for one in found if one.n < FEWEST]
    if len(few) == len(found):
        return f"fewer than {FEWEST} such questions"
    alike = [one for one in found if one not in few and np.isnan(one.low)]
    wide = [one for one in found if one not in few and one not in alike]
    said = {
        "the interval is wider than its margin": wide,
        "too few for all alike": alike,
    }
    why = [f"{reason} (n = {_span(made)})" for reason, made in said.items() if made]
    return ", or ".join([*why, *([f"too few ({len(few)})"] if few else [])])


def _span(found: Sequence[Estimate]) -> str:
    counts = [one.n for one in found]
    return " to ".join(map(str, sorted({min(counts), max(counts)})))


def written(found: Estimate, unit: str = "points") -> str:
    """An estimate with its interval, unit and n."""
    return f"{interval(found, unit)} {unit}, n = {found.n}" if found.n else "–"


def interval(found: Estimate, unit: str) -> str:
    """An estimate with its interval; with its sign, if it is a difference."""
    return found.format(1, sign=unit in ("points", "log₂"))


# The ledger's tables.


def summary(evidence: Evidence, judged: Sequence[Verdict]) -> pd.DataFrame:
    """One row a claim: the paper's number, ours by size, and the page."""
    rows = []
    for claim in CLAIMS:
        mine = [one for one in judged if one.claim.key == claim.key]
        built = f"{BUILT}: {claim.true}" if claim.true else ""
        rows.append(
            {
                "claim": claim.key,
                "what it says": claim.statement,
                "the paper's number": claim.paper,
                "embedded size": built or _embedded(claim, at(EMBEDDED, mine)),
                "GPU size": built or _gpu(evidence, claim, at(GPU, mine)),
                "page": claim.page,
            }
        )
    return pd.DataFrame(rows)


def _embedded(claim: Claim, mine: Sequence[Verdict]) -> str:
    why = claim.cannot or ("" if mine else "its runs are missing")
    told = f"{CANNOT}: {why}" if why else outcome(mine)
    return f"{told}; {_first(mine)}" if mine else told


def _gpu(evidence: Evidence, claim: Claim, mine: Sequence[Verdict]) -> str:
    made = "; ".join(commands(evidence, claim))
    if not mine:
        return f"no records: {made}" if made else claim.cannot_gpu
    names = ", ".join(dict.fromkeys(one.model for one in mine))
    told = f"{names}: {outcome(mine)}; {_first(mine)}"
    return f"{told}; missing: {made}" if made else told


def _first(mine: Iterable[Verdict]) -> str:
    """The first reading of each model and those to be told, in words."""
    models: set[str] = set()
    named: dict[str, list[str]] = {}
    for one in mine:
        if one.model not in models or one.reading.told:
            models.add(one.model)
            told = f"{one.model} {written(one.found, one.reading.unit)}"
            named.setdefault(one.reading.name, []).append(told)
    return "; ".join(f"{name}: {'; '.join(said)}" for name, said in named.items())


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
            "records": ", ".join(one.runs or _made_by(one.reading)),
        }
        for one in judged
    ]
    return pd.DataFrame(rows)


def _made_by(reading: Reading) -> list[str]:
    return ["make bench" if "cost" in reading.needs else "this page"]


def links(judged: Iterable[Verdict] = ()) -> Links:
    """Where pages are, from one in ``book/executed``; of runs those that have one."""
    found = {}
    for claim in CLAIMS:
        name, hash_, figure = claim.page.partition("#")
        found[claim.page] = f"{name}.html{hash_}{figure}"
    for run in (run for one in judged for run in one.runs):
        if (workflow.executed() / "runs" / f"{run}.ipynb").is_file():
            found[run] = f"runs/{run}.html"
    return found | {"make bench": "cost.html"}


# What would make what is missing.


def commands(evidence: Evidence, claim: Claim) -> list[str]:
    """The shell's commands for the records that a claim lacks at GPU size."""
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
