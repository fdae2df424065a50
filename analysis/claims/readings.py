"""Readings: what is measured of a claim, on which evidence, and when it counts as seen.

Measures take tables and give an estimate: a difference of accuracy, in points, unless
said otherwise.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from analysis import FEWEST, costs, crops, estimates, looking, probes, words
from analysis.estimates import difference
from vicrop import adapters
from vicrop.run import results, scores, stats
from vicrop.run.folder import RunFolder
from vicrop.run.records import RunConfig
from vicrop.run.stats import Estimate
from workflow import tables

# Evidence: finished runs, and what pages measured.

EMBEDDED, GPU = SIZES = ("toy", "real")
"""The sizes of a model: in this repository, or not."""


@dataclass(frozen=True)
class Answers:
    """The answers of a run, or some of them.

    Attributes:
        dataset: key.
        method: key.
        model: key, where it is not the one that is judged.
        group: of object size; empty for all.
        kind: that the samples' ``meta`` have as ``category``; empty for all.
    """

    dataset: str
    method: str
    model: str = ""
    group: str = ""
    kind: str = ""

    def chosen(self, table: pd.DataFrame) -> pd.DataFrame:
        """Of a run's table these, without what its official mean leaves out."""
        table = scores.counted(table, self.dataset)
        if self.group:
            table = table[table["group"] == self.group]
        if self.kind:
            kinds = table["meta"].map(lambda meta: meta.get("category"))
            table = table[kinds == self.kind]
        return table


Need = Answers | str
"""A table to measure on: answers of a run, or a probe by its name (``_probed``)."""


def size_of(model: str) -> str:
    """``EMBEDDED`` if the weights are in this repository, else ``GPU``."""
    spec = adapters.MODELS.get(model)
    return EMBEDDED if spec is not None and spec.folder is not None else GPU


def family_of(model: str) -> str:
    """A model's family; empty for one without a key."""
    spec = adapters.MODELS.get(model)
    return "" if spec is None else spec.family


@dataclass(frozen=True)
class Evidence:
    """Finished runs, and probes.

    Attributes:
        probes: tables that were measured beside the runs, by (model, name).
    """

    probes: Mapping[tuple[str, str], pd.DataFrame] = field(default_factory=dict)
    _tables: dict[str, pd.DataFrame] = field(default_factory=dict, init=False)

    @cached_property
    def runs(self) -> dict[tuple[str, str, str], RunFolder]:
        """By model, method and data set: the run over most samples."""
        made = [(RunConfig(**run.meta()["config"]), run) for run in tables.find()]
        made.sort(key=lambda one: -(one[0].limit or sys.maxsize))
        found: dict[tuple[str, str, str], RunFolder] = {}
        for config, run in reversed(made):  # of equals the first stays
            if config.layer is None and tables.label(config) == config.method:
                found[config.model, config.method, config.dataset] = run
        return found

    def folder(self, need: Answers, model: str) -> RunFolder | None:
        """A run's folder, if it is finished."""
        return self.runs.get((need.model or model, need.method, need.dataset))

    def frame(self, need: Need, model: str) -> pd.DataFrame | None:
        """A table to measure on, if it is there; of a run, its scored samples."""
        if isinstance(need, str):
            return self.probes.get((model, need))
        rows = self.rows(need, model)
        return None if rows is None else rows.dropna(subset=["score"])

    def rows(self, need: Answers, model: str) -> pd.DataFrame | None:
        """A run's records, if it is there, failed samples among them."""
        run = self.folder(need, model)
        if run is None:
            return None
        if run.name not in self._tables:
            self._tables[run.name] = results.table(run)
        return need.chosen(self._tables[run.name])


def gathered(
    models: Sequence[str],
    bench: costs.Measured,
    dataset: str = "plates",
    n: int = 0,
    **how: str,
) -> Evidence:
    """Finished runs, and the probes of some models that the claims need.

    Args:
        models: keys.
        bench: measured costs, of models that it has.
        dataset: of the probes, which are left out where they need a missing run.
        n: small questions of a probe; 0 for all.
        how: see ``probes.of``.
    """
    runs, found = Evidence(), {}
    for model in models:
        one = probes.of(model, dataset, n, **how)
        plain, cropped = (
            runs.frame(Answers(dataset, method), model)
            for method in ("no-crop", "rel-att")
        )
        for name, table in _probed(one, plain, cropped).items():
            found[model, name] = table
        spent = costs.methods(bench).query("model == @model")
        if {"no-crop", "rel-att"} <= set(spent["method"]):
            found[model, "cost"] = spent
    return Evidence(found)


def _probed(
    one: probes.Probes, plain: pd.DataFrame | None, cropped: pd.DataFrame | None
) -> dict[str, pd.DataFrame]:
    """A model's probes by what readings call them; of small objects, or all sizes."""
    layer, pairs = one.about["layer"], one.table("pairs")
    layers, said = one.table("layers"), one.table("layer answers")
    found = {
        "layers": layers,
        "layers, all sizes": pairs,
        "map's layer, all sizes": pairs[pairs["pair"] == one.about["chosen_pair"]],
        "chosen layer": said.replace({probes.layer_name(layer): crops.ONE}),
        "zoom": one.table("zoom"),
        "words": words.of_map(one.table("maps"), "word-att"),
    }
    if plain is not None:
        at = looking.with_answers(layers, plain)
        found["map's layer"] = at[at["layer"] == layer]
    if cropped is not None:
        found["crop alone"] = one.table("alone")
    return found


# Readings.

SEEN, OPPOSITE, NOT_SEEN = "seen", "the opposite is seen", "not seen"
CANNOT = "cannot be told"
WORDS = (SEEN, OPPOSITE, NOT_SEEN, CANNOT)
"""What a reading can say of its claim."""


@dataclass(frozen=True)
class Rule:
    """A claim's side: where an interval must lie for the claim to count as seen.

    Attributes:
        says: the rule in words.
        low: the side's lower end.
        high: its upper end.
        margin: whether its ends are a margin around no effect (0). Then an interval
            that reaches across an end and holds 0 is too wide to tell.
    """

    says: str
    low: float = -np.inf
    high: float = np.inf
    margin: bool = False

    @property
    def null(self) -> float:
        """What no effect is."""
        ends = (end for end in (self.low, self.high) if np.isfinite(end))
        return 0 if self.margin else next(ends)

    def word(self, found: Estimate) -> str:
        """Seen if the interval is on the side, its opposite if it is off it."""
        if self.low < found.low and found.high < self.high:
            return SEEN
        if found.high < self.low or self.high < found.low:
            return OPPOSITE
        return CANNOT if self.margin and not found.excludes(0) else NOT_SEEN


def above(value: float = 0) -> Rule:
    """The whole interval lies above a value."""
    return Rule(f"above {value:g}", low=value)


def below(value: float = 0) -> Rule:
    """The whole interval lies below a value."""
    return Rule(f"below {value:g}", high=value)


def no_loss(margin: float) -> Rule:
    """A loss of a margin is excluded."""
    return Rule(f"above −{margin:g}", low=-margin, margin=True)


def same(margin: float, words: str = "") -> Rule:
    """A difference of a margin is excluded, either way."""
    said = f"within ±{margin:g} of 0"
    return Rule(f"{words} ({said})" if words else said, -margin, margin, True)


@dataclass(frozen=True)
class Reading:
    """One measurement that speaks for or against a claim.

    Attributes:
        name: what is measured, on what.
        needs: tables to measure on.
        measure: of these, in their order.
        size: of the models that it is of; empty for both.
        rule: when the claim counts as seen, in the measure's unit; None if the number
            is shown and never judged, being of another unit or machine.
        families: of models; empty for all.
        unit: of the measure.
        why: it is the one that its claim's verdict is read off, decided before it was
            measured; empty for all others.
    """

    name: str
    needs: tuple[Need, ...]
    measure: Callable[..., Estimate]
    size: str = ""
    rule: Rule | None = above()
    families: tuple[str, ...] = ()
    unit: str = "points"
    why: str = ""

    @property
    def seen_if(self) -> str:
        """Its rule in words."""
        return self.rule.says if self.rule else "not to be compared"

    def concerns(self, model: str) -> bool:
        """Whether it is of this model."""
        fits = not self.families or family_of(model) in self.families
        return fits and self.size in ("", size_of(model))

    def of(self, evidence: Evidence, model: str) -> Estimate | None:
        """What is measured of a model; None if something that it needs is missing."""
        frames = [evidence.frame(need, model) for need in self.needs]
        if any(frame is None for frame in frames):
            return None
        return self.measure(*frames)

    def runs(self, evidence: Evidence, model: str) -> tuple[str, ...]:
        """Ids of the runs behind it."""
        needs = (need for need in self.needs if not isinstance(need, str))
        folders = (evidence.folder(need, model) for need in needs)
        return tuple(dict.fromkeys(one.folder.name for one in folders if one))

    def pictures(self, evidence: Evidence, model: str) -> float:
        """How many pictures there are a question, where they are fewest."""
        frames = [evidence.frame(need, model) for need in self.needs]
        shares = [1.0]
        for frame in frames:
            if frame is not None and "image" in frame:
                rows = frame.drop_duplicates("id") if "id" in frame else frame
                alone = rows["image"].isna().sum()
                shares.append((rows["image"].nunique() + alone) / max(len(rows), 1))
        return min(shares)

    def judge(self, found: Estimate, pictures: float = 1) -> str:
        """The verdict's word; of fewer than ``FEWEST`` samples there is none.

        Args:
            found: what was measured.
            pictures: a question.
        """
        if self.rule is None or found.n < FEWEST or np.isnan(found.value):
            return CANNOT
        if np.isnan(found.low) and self.unit in ("points", "%"):
            found = widened(found, pictures)  # a sample can make 100 at most
        return CANNOT if np.isnan(found.low) else self.rule.word(found)


def widened(found: Estimate, pictures: float = 1) -> Estimate:
    """An estimate of samples that are all alike, with the interval that n allows.

    Of n pictures alike, up to 3/n may be unlike ones that were missed (rule of three).

    Args:
        found: in points or percent, without an interval.
        pictures: a question.
    """
    unseen = 100 * 3 / (found.n * pictures)
    return replace(found, low=found.value - unseen, high=found.value + unseen)


def fewest_changes(level: float = 0.05) -> int:
    """How many answers must change, all one way, for McNemar's exact p to be below."""
    return math.floor(math.log2(2 / level)) + 1  # p is 2 / 2ⁿ


# Measures of runs.


def gain(run: pd.DataFrame) -> Estimate:
    """Paired gain of a method over the image alone."""
    return stats.gain(run["plain_score"], run["score"], run["image"]).times(100)


def least_gain(*runs: pd.DataFrame) -> Estimate:
    """The gain of the method that is least sure to have one: each has no less."""

    def low(one: Estimate) -> float:
        return widened(one).low if np.isnan(one.low) else one.low

    return min(map(gain, runs), key=low)


def _gains(run: pd.DataFrame) -> pd.Series:
    return run["score"] - run["plain_score"]


def _with_gains(run: pd.DataFrame) -> pd.DataFrame:
    return run.assign(gain=_gains(run))


def gains_apart(one: pd.DataFrame, other: pd.DataFrame) -> Estimate:
    """A gain on one group of questions less that on another group."""
    return estimates.between(_with_gains(one), _with_gains(other), "gain").times(100)


def gains_over(one: pd.DataFrame, other: pd.DataFrame) -> Estimate:
    """Paired difference of two models' gains on the same questions."""
    return difference(_gains(other), _gains(one), one["image"]).times(100)


def fall(small: pd.DataFrame, large: pd.DataFrame) -> Estimate:
    """How much more is right of large objects than of small ones, image alone."""
    return estimates.between(large, small, "plain_score").times(100)


def over(one: pd.DataFrame, other: pd.DataFrame) -> Estimate:
    """Paired difference of two methods' answers to the same questions."""
    return difference(other["score"], one["score"], one["image"]).times(100)


def found_when_wrong(run: pd.DataFrame, control: pd.DataFrame) -> Estimate:
    """How much more often a crop than a control's holds what was answered wrongly."""
    wrong = run[run["plain_score"] < 0.5]
    held, by_chance = (
        (f["coverage"] >= looking.COVERED).astype(float) for f in (wrong, control)
    )
    return difference(by_chance, held, wrong["image"]).times(100)


def found_share(run: pd.DataFrame) -> Estimate:
    """Of what is answered wrongly without a crop, the share that a crop holds, percent.

    What has no crop is left out.
    """
    wrong = run[(run["plain_score"] < 0.5) & run["coverage"].notna()]
    held = wrong["coverage"] >= looking.COVERED
    return stats.accuracy(held, wrong["image"]).times(100)


def read_when_found(
    run: pd.DataFrame, crop: pd.DataFrame, control: pd.DataFrame
) -> Estimate:
    """What a true crop repairs beyond a second image, where the map was right already.

    On questions that were answered wrongly although the run's crop holds the object.
    """
    missed = run[(run["plain_score"] < 0.5) & (run["coverage"] >= looking.COVERED)]
    one, other = (f["score"].reindex(missed.index) for f in (crop, control))
    return difference(other, one, missed["image"]).times(100)


def missed_when_left(run: pd.DataFrame) -> Estimate:
    """Of what a method leaves wrong, the share whose crop missed the object, percent.

    Those without a crop are left out.
    """
    left = run[(run["score"] < 0.5) & run["coverage"].notna()]
    return stats.accuracy(left["coverage"] < looking.COVERED, left["image"]).times(100)


def oracle(*runs: pd.DataFrame) -> Estimate:
    """How much the best answer of several methods beats the best method's."""
    scores = pd.concat([run["score"] for run in runs], axis=1, join="inner").dropna()
    best = scores.iloc[:, int(scores.mean().to_numpy().argmax())]
    pictures = runs[0]["image"][scores.index]
    return stats.gain(best, scores.max(axis=1), pictures).times(100)


# Measures of probes.


def named(one: str, other: str) -> Callable[[pd.DataFrame], Estimate]:
    """Measure of a probe: paired difference of one name over another, points."""

    def measure(probe: pd.DataFrame) -> Estimate:
        wide = probe.pivot(index="id", columns="name", values="score")
        pictures = crops.images_of(probe)
        return difference(wide[other], wide[one], pictures).times(100)

    return measure


def mean_ratio(layer: pd.DataFrame) -> Estimate:
    """Mean attention ratio, as the paper's Figure 3 has it."""
    return estimates.of_column(layer, "ratio")


def wrong_over_right(layer: pd.DataFrame) -> Estimate:
    """Difference of the mean base-2 logarithm of the ratio, wrong minus right."""
    told = layer.assign(log=np.log2(layer["ratio"].where(layer["ratio"] > 0)))
    wrong, right = (told[told["answer"] == name] for name in ("wrong", "right"))
    return estimates.between(wrong, right, "log")


def layers_above(layers: pd.DataFrame) -> Estimate:
    """Mean share of layers whose ratio of a question is above 1, percent."""
    known = layers.dropna(subset=["ratio"])
    shares = (known["ratio"] > 1).groupby(known["id"]).mean()
    return stats.bootstrap(shares, images=crops.images_of(known)).times(100)


def answer_tokens(costs: pd.DataFrame) -> Estimate:
    """What rel-att and its answer add to a plain one, in answer tokens' time."""
    seconds, token = (
        costs.set_index("method")[name] for name in ("seconds", "answer_token_seconds")
    )
    both, plain = (
        np.array(seconds[name]) / token["rel-att"] for name in ("rel-att", "no-crop")
    )
    rng = np.random.default_rng(0)
    added, before = (stats.resampled(one, np.median, rng) for one in (both, plain))
    middle = float(np.median(both) - np.median(plain))
    return stats.interval(middle, added - before, len(both) + len(plain))
