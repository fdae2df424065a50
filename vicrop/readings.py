"""How a claim is read off: what is measured of it, and when it counts as seen."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from vicrop.evidence import Evidence, Need, family_of, size_of
from vicrop.stats import Estimate

Verdict = Literal["seen", "not seen", "cannot be seen at this size"]
SEEN: Verdict = "seen"
NOT_SEEN: Verdict = "not seen"
CANNOT: Verdict = "cannot be seen at this size"

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
    """Seen if the whole interval lies above a value; otherwise not seen."""

    null: float = 0.0

    @property
    def says(self) -> str:
        """The rule in words."""
        return f"above {self.null:g}"

    def __call__(self, found: Estimate) -> Verdict:
        """Seen or not seen."""
        return SEEN if found.low > self.null else NOT_SEEN


@dataclass(frozen=True)
class Below:
    """Seen if the whole interval lies below a value; otherwise not seen."""

    null: float = 0.0

    @property
    def says(self) -> str:
        """The rule in words."""
        return f"below {self.null:g}"

    def __call__(self, found: Estimate) -> Verdict:
        """Seen or not seen."""
        return SEEN if found.high < self.null else NOT_SEEN


@dataclass(frozen=True)
class NoLoss:
    """Seen if a loss of a margin is excluded, not seen if the interval is one of loss.

    An interval that reaches beyond both the margin and 0 is too wide to tell.
    """

    margin: float

    @property
    def says(self) -> str:
        """The rule in words."""
        return f"above −{self.margin:g}"

    def __call__(self, found: Estimate) -> Verdict:
        """Any of the three."""
        if found.low > -self.margin:
            return SEEN
        return NOT_SEEN if found.high < 0 else CANNOT


@dataclass(frozen=True)
class Same:
    """Seen if the interval lies within a margin, not seen if it excludes equality.

    An interval that reaches beyond the margin and holds equality is too wide to tell.
    """

    margin: float
    null: float = 0.0

    @property
    def says(self) -> str:
        """The rule in words."""
        return f"within ±{self.margin:g} of {self.null:g}"

    def __call__(self, found: Estimate) -> Verdict:
        """Any of the three."""
        low, high = found.low - self.null, found.high - self.null
        if -self.margin < low and high < self.margin:
            return SEEN
        return NOT_SEEN if found.excludes(self.null) else CANNOT


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
    """

    name: str
    size: str
    needs: tuple[Need, ...]
    measure: Callable[..., Estimate]
    rule: Rule
    families: tuple[str, ...] = ()
    unit: str = "points"

    def concerns(self, model: str) -> bool:
        """Whether it is of this model."""
        fits = not self.families or family_of(model) in self.families
        return fits and size_of(model) == self.size

    def of(self, evidence: Evidence, model: str) -> Estimate | None:
        """What is measured of a model; None if something that it needs is missing."""
        frames = evidence.frames(self.needs, model)
        return None if frames is None else self.measure(*frames)
