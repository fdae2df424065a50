"""The ledger: each claim of the paper beside what was measured, and the commands."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import pandas as pd

from analysis.claims import probing, readings
from analysis.claims.claims import CLAIMS, Claim
from analysis.claims.evidence import EMBEDDED, GPU, Evidence, Probe, Run, size_of
from analysis.claims.readings import CANNOT, Reading, Verdict
from analysis.figures.tables import Links
from vicrop import paths
from vicrop.run import stats
from vicrop.run.cli import to_arguments
from vicrop.run.records import RunConfig
from workflow import matrix, plans

PAPERS = ("llava-1.5-7b", "instructblip-vicuna-7b")
"""The models whose crops the paper measures."""


@dataclass(frozen=True)
class Entry:
    """A reading of one model, judged.

    Attributes:
        claim: that it is of.
        reading: what was measured.
        model: key.
        found: None if something that it needs is missing.
        verdict: what the reading's rule says.
        runs: ids of the runs behind it.
    """

    claim: Claim
    reading: Reading
    model: str
    found: stats.Estimate | None
    verdict: Verdict
    runs: tuple[str, ...]


def entries(
    evidence: Evidence, models: Iterable[str], claims: Sequence[Claim] = CLAIMS
) -> list[Entry]:
    """All readings of some models: the claims in their order, then the models."""
    return [
        _entry(evidence, claim, reading, model)
        for claim in claims
        for model in models
        for reading in claim.of(model)
    ]


def _entry(evidence: Evidence, claim: Claim, reading: Reading, model: str) -> Entry:
    found = reading.of(evidence, model)
    verdict = readings.judge(found, reading.rule, reading.unit)
    folders = [
        evidence.folder(need, model) for need in reading.needs if isinstance(need, Run)
    ]
    runs = dict.fromkeys(one.folder.name for one in folders if one is not None)
    return Entry(claim, reading, model, found, verdict, tuple(runs))


def with_records(evidence: Evidence, embedded: Sequence[str]) -> list[str]:
    """The models that a ledger is of: some embedded ones, all others with records."""
    others = (name for name in evidence.models if size_of(name) == GPU)
    return list(dict.fromkeys([*embedded, *others]))


def outcome(judged: Iterable[Entry]) -> str:
    """Verdicts of several readings as one; counted where they differ."""
    measured = [one for one in judged if one.found is not None]
    told = [one.verdict for one in measured]
    why = f": {_why(measured)}" if CANNOT in told else ""
    counts = {word: told.count(word) for word in readings.VERDICTS if word in told}
    if len(counts) == 1:
        return told[0] + (why or f" ({len(told)} of {len(told)} readings)")
    first, *others = (f"{word} in {count}" for word, count in counts.items())
    return f"{MIXED}: " + ", ".join([f"{first} of {len(told)} readings", *others]) + why


def standing(judged: Iterable[Entry], claim: Claim, size: str = EMBEDDED) -> str:
    """A claim's verdict at a size, in a word: one of ``STANDINGS``."""
    if claim.true:
        return BUILT
    told = {
        one.verdict
        for one in judged
        if one.claim.key == claim.key and one.reading.size == size and one.found
    }
    return MIXED if len(told) > 1 else next(iter(told), CANNOT)


def standings(
    judged: Sequence[Entry], claims: Sequence[Claim] = CLAIMS, size: str = EMBEDDED
) -> dict[str, int]:
    """How many claims have each standing."""
    found = [standing(judged, claim, size) for claim in claims]
    return {word: found.count(word) for word in STANDINGS}


BUILT, MIXED = "by construction", "mixed"
STANDINGS = (*readings.VERDICTS, MIXED, BUILT)


def _why(measured: Iterable[Entry]) -> str:
    """Why some readings cannot be judged."""
    counts = [one.found.n for one in measured if one.found and one.verdict == CANNOT]
    few = sum(count < readings.FEWEST for count in counts)
    if few == len(counts):
        return f"fewer than {readings.FEWEST} such questions"
    span = " to ".join(map(str, sorted({min(counts), max(counts)})))
    wide = f"wider than its margin (n = {span})"
    return f"the interval is {wide}" + (f", or too few ({few})" if few else "")


def written(found: stats.Estimate | None, unit: str = "points") -> str:
    """An estimate with its interval, unit and n."""
    if found is None or not found.n:
        return "–"
    return f"{found.format(1, sign=unit in SIGNED)} {unit}, n = {found.n}"


SIGNED = ("points", "log₂")


# The ledger's tables.


def summary(
    evidence: Evidence, judged: Sequence[Entry], claims: Sequence[Claim] = CLAIMS
) -> pd.DataFrame:
    """One row a claim: the paper's number, ours by size, and the page."""
    return pd.DataFrame([_summed(evidence, judged, claim) for claim in claims])


def _summed(evidence: Evidence, judged: Sequence[Entry], claim: Claim) -> dict:
    mine = [one for one in judged if one.claim.key == claim.key]
    return {
        "claim": claim.key,
        "what it says": claim.statement,
        "the paper's number": f"{claim.place}: {claim.paper}",
        "embedded size": _embedded(mine, claim),
        "GPU size": _gpu(evidence, mine, claim),
        "page": claim.page,
    }


def _embedded(mine: Sequence[Entry], claim: Claim) -> str:
    if claim.true:
        return f"{BUILT}: {claim.true}"
    here = [one for one in mine if one.reading.size == EMBEDDED and one.found]
    why = claim.cannot or ("" if here else "its runs are missing")
    told = f"{CANNOT}: {why}" if why else outcome(here)
    return f"{told}; {_first(here)}" if here else told


def _first(judged: Sequence[Entry]) -> str:
    """The first reading of each model and those to be told, in words."""
    models: set[str] = set()
    named: dict[str, list[str]] = {}
    for one in judged:
        if one.found is None or (one.model in models and not one.reading.told):
            continue
        models.add(one.model)
        said = f"{one.model} {written(one.found, one.reading.unit)}"
        named.setdefault(one.reading.name, []).append(said)
    return "; ".join(f"{name}: {'; '.join(said)}" for name, said in named.items())


def _gpu(evidence: Evidence, mine: Sequence[Entry], claim: Claim) -> str:
    if claim.true:
        return f"{BUILT}: {claim.true}"
    there = [one for one in mine if one.reading.size == GPU and one.found is not None]
    made = "; ".join(commands(evidence, claim))
    if not there:
        return f"no records: {made}" if made else claim.cannot_gpu
    names = ", ".join(dict.fromkeys(one.model for one in there))
    told = f"{names}: {outcome(there)}; {_first(there)}"
    return f"{told}; missing: {made}" if made else told


def details(judged: Iterable[Entry]) -> pd.DataFrame:
    """One row a reading and model, with its interval, rule and runs."""
    rows = [
        {
            "claim": one.claim.key,
            "model": one.model,
            "measured": one.reading.name,
            "size": SIZES[one.reading.size],
            "n": one.found.n,
            "95 % interval": one.found.format(1, sign=one.reading.unit in SIGNED),
            "unit": one.reading.unit,
            "seen if": one.reading.rule.says,
            "verdict": one.verdict,
            "records": ", ".join(one.runs) or _source(one.reading),
        }
        for one in judged
        if one.found is not None
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _source(reading: Reading) -> str:
    return "make bench" if Probe("cost") in reading.needs else "this page"


SIZES = {EMBEDDED: "embedded", GPU: "GPU"}
COLUMNS = (
    "claim,model,measured,size,n,95 % interval,unit,seen if,verdict,records".split(",")
)


def counted(judged: Sequence[Entry], size: str = EMBEDDED) -> dict[str, int]:
    """How many readings of a size got each verdict."""
    said = [one.verdict for one in judged if one.reading.size == size and one.found]
    return {word: said.count(word) for word in readings.VERDICTS}


def links(judged: Iterable[Entry] = (), claims: Iterable[Claim] = CLAIMS) -> Links:
    """Where pages are, from one in ``book/executed``; of runs those that have one."""
    found = {claim.page: _address(claim.page) for claim in claims}
    for run in (run for one in judged for run in one.runs):
        if (paths.executed() / "runs" / f"{run}.ipynb").is_file():
            found[run] = f"runs/{run}.html"
    return found | {"make bench": "06_cost.html"}


def _address(page: str) -> str:
    name, hash_, figure = page.partition("#")
    return f"{name}.html{hash_}{figure}"


# What would make what is missing.


def commands(
    evidence: Evidence, claim: Claim, models: Sequence[str] = PAPERS
) -> list[str]:
    """The shell's commands for the records that a claim lacks at GPU size.

    ``make run`` if a size of the matrix has all of them; otherwise ``vicrop run``, a
    command a model and data set.
    """
    runs: dict[tuple[str, str], list[str]] = {}
    probed = []
    for model in models:
        for reading in claim.of(model):
            for need in evidence.missing(reading.needs, model):
                if isinstance(need, Probe):
                    probed.append(model)
                    continue
                methods = runs.setdefault((need.of(model), need.dataset), [])
                methods += [need.method] * (need.method not in methods)
    made = (
        [probing.COMMAND.format(models=", ".join(dict.fromkeys(probed)))]
        if probed
        else []
    )
    return made + for_runs(runs)


def for_runs(runs: Mapping[tuple[str, str], Sequence[str]]) -> list[str]:
    """Commands that make whole runs.

    Args:
        runs: methods by model and data set.
    """
    if not runs:
        return []
    wanted = {
        RunConfig(model=model, dataset=dataset, method=method).run_id
        for (model, dataset), methods in runs.items()
        for method in methods
    }
    sizes = [size for size, ids in _sizes() if wanted <= ids]
    if sizes:
        return [f"make run SIZE={sizes[0]}"]
    return [_run(*where, methods) for where, methods in runs.items()]


def _run(model: str, dataset: str, methods: Sequence[str]) -> str:
    configs = [
        RunConfig(
            model=model,
            dataset=dataset,
            method=method,
            device="cuda",
            dtype="bfloat16",
        )
        for method in methods
    ]
    return f"vicrop run {shlex.join(to_arguments(configs))}"


@lru_cache(maxsize=1)
def _sizes() -> tuple[tuple[str, frozenset[str]], ...]:
    """The matrix's sizes and their runs' ids, the fewest runs first."""
    found = []
    for size in matrix.read(plans.MATRIX):
        configs, _ = matrix.chosen(plans.MATRIX, size)
        found.append((size, frozenset(config.run_id for config in configs)))
    return tuple(sorted(found, key=lambda pair: len(pair[1])))
