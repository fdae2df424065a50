"""How a claim is read off: what is measured of it, and when it counts as seen."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from analysis.claims.evidence import Evidence, Need, family_of, size_of
from vicrop.run import stats
from vicrop.run.stats import Estimate

Verdict = Literal[
    "seen", "the opposite is seen", "not seen", "cannot be seen at this size"
]
SEEN: Verdict = "seen"
OPPOSITE: Verdict = "the opposite is seen"
NOT_SEEN: Verdict = "not seen"
CANNOT: Verdict = "cannot be seen at this size"
VERDICTS = (SEEN, OPPOSITE, NOT_SEEN, CANNOT)

FEWEST = 10
"""With fewer samples an interval of resamples says nothing."""


class Rule(Protocol):
    """When a claim counts as seen; an interval in, a verdict out."""

    @property
    def says(self) -> str:
        """The rule in words."""

    def __call__(self, found: Estimate) -> Verdict:
        """The verdict, of an interval that can be judged."""


@dataclass(frozen=True)
class Above:
    """Seen if the whole interval lies above a value, its opposite if below it."""

    null: float = 0.0

    @property
    def says(self) -> str:
        """The rule in words."""
        return f"above {self.null:g}"

    def __call__(self, found: Estimate) -> Verdict:
        """Seen, its opposite, or neither."""
        return _side(found.low > self.null, found.high < self.null)


@dataclass(frozen=True)
class Below:
    """Seen if the whole interval lies below a value, its opposite if above it."""

    null: float = 0.0

    @property
    def says(self) -> str:
        """The rule in words."""
        return f"below {self.null:g}"

    def __call__(self, found: Estimate) -> Verdict:
        """Seen, its opposite, or neither."""
        return _side(found.high < self.null, found.low > self.null)


def _side(seen: bool, opposite: bool) -> Verdict:
    return SEEN if seen else OPPOSITE if opposite else NOT_SEEN


@dataclass(frozen=True)
class NoLoss:
    """Seen if a loss of a margin is excluded, its opposite if a larger loss is sure.

    Not seen if the interval is one of loss on both sides of the margin. One that
    reaches beyond both the margin and 0 is too wide to tell.
    """

    margin: float

    @property
    def says(self) -> str:
        """The rule in words."""
        return f"above −{self.margin:g}"

    def __call__(self, found: Estimate) -> Verdict:
        """Any of the four."""
        if found.low > -self.margin:
            return SEEN
        if found.high < -self.margin:
            return OPPOSITE
        return NOT_SEEN if found.high < 0 else CANNOT


@dataclass(frozen=True)
class Same:
    """Seen if the interval lies within a margin, its opposite if wholly beyond it.

    Not seen if it excludes equality but not the margin. One that reaches beyond the
    margin and holds equality is too wide to tell.
    """

    margin: float
    null: float = 0.0
    words: str = ""

    @property
    def says(self) -> str:
        """The rule in words."""
        said = f"within ±{self.margin:g} of {self.null:g}"
        return f"{self.words} ({said})" if self.words else said

    def __call__(self, found: Estimate) -> Verdict:
        """Any of the four."""
        low, high = found.low - self.null, found.high - self.null
        if -self.margin < low and high < self.margin:
            return SEEN
        if low > self.margin or high < -self.margin:
            return OPPOSITE
        return NOT_SEEN if found.excludes(self.null) else CANNOT


@dataclass(frozen=True)
class Shown:
    """Never judged: the number stands there, but is of another unit or machine."""

    says: str = "not to be compared"

    def __call__(self, found: Estimate) -> Verdict:
        """None of a claim's side."""
        return CANNOT


COUNTED = ("points", "%")
"""Units in which one sample can make a difference of 100 at most."""


def judge(found: Estimate | None, rule: Rule, unit: str = "points") -> Verdict:
    """What a rule says of a measurement.

    Nothing measured, or fewer than ``FEWEST`` samples, cannot be judged.

    Args:
        found: in the unit.
        rule: of the claim.
        unit: in points and percent an interval without width is widened first.
    """
    if found is None or found.n < FEWEST or np.isnan(found.value):
        return CANNOT
    return rule(widened(found) if unit in COUNTED else found)


def widened(found: Estimate) -> Estimate:
    """An interval without width (no sample differed) as wide as its n allows.

    Of n samples alike, up to 3/n may be unlike ones that were missed (rule of three).
    """
    if found.low != found.high:
        return found
    unseen = 100 * 3 / found.n
    return Estimate(found.value, found.low - unseen, found.high + unseen, found.n)


def fewest_changes(level: float = 0.05) -> int:
    """How many answers must change, all one way, for McNemar's exact p to be below."""
    return next(
        count
        for count in range(1, 100)
        if stats.changes(np.zeros(count), np.ones(count)).p < level
    )


@dataclass(frozen=True)
class Reading:
    """One measurement that speaks for or against a claim.

    Attributes:
        name: what is measured, on what.
        size: of the models that it is of.
        needs: runs and probes.
        measure: of their tables, in that order.
        rule: when it counts as seen; in the measure's unit.
        families: of models; empty for all.
        unit: of the measure.
        told: whether it stands in the claim's own row even if it is not the first.
    """

    name: str
    size: str
    needs: tuple[Need, ...]
    measure: Callable[..., Estimate]
    rule: Rule
    families: tuple[str, ...] = ()
    unit: str = "points"
    told: bool = False

    def concerns(self, model: str) -> bool:
        """Whether it is of this model."""
        fits = not self.families or family_of(model) in self.families
        return fits and size_of(model) == self.size

    def of(self, evidence: Evidence, model: str) -> Estimate | None:
        """What is measured of a model; None if something that it needs is missing."""
        frames = evidence.frames(self.needs, model)
        return None if frames is None else self.measure(*frames)
