"""When to crop at all: features that are free, and a threshold with a promise.

Not in the paper. Of each feature, low values speak for a crop: the plain answer is not
sure, or the map is clear.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vicrop import boxes
from vicrop.methods import FEATURES, OF_ANSWER, OF_MAP
from vicrop.types import Box, Map, known

if TYPE_CHECKING:
    from torch import Tensor


def of_scores(scores: Tensor) -> dict[str, float]:
    """How sure an answer's first token is, by its scores (vocabulary,).

    Returns:
        ``probability`` of the likeliest, its ``margin`` over the next, and
        ``certainty``: 1 less the entropy over its largest, ln V. Each in [0, 1].
    """
    chances = scores.float().softmax(-1)
    first, second = chances.topk(2).values.tolist()
    spread = float(-chances.xlogy(chances).sum()) / math.log(len(chances))
    return _rounded(OF_ANSWER, (first, first - second, 1 - spread))


def of_map(amap: Map, box: Box, image_size: tuple[int, int]) -> dict[str, float]:
    """How spread a map is: its entropy over ln N, and its share outside of the box."""
    outside = ~boxes.within(amap, box, image_size)
    share = amap.values.sum(where=outside, dtype=float) / amap.values.sum(dtype=float)
    return _rounded(OF_MAP, (boxes.entropy(amap), float(share)))


def _rounded(names: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    """To what a batch does not change; every record holds them."""
    return {name: round(one, 4) for name, one in zip(names, values, strict=True)}


@dataclass(frozen=True)
class Gate:
    """Crop where a feature is at or below a threshold.

    Attributes:
        feature: key of ``FEATURES``.
        threshold: of it.
    """

    feature: str
    threshold: float

    @classmethod
    def calibrated(cls, feature: str, repaired: Sequence[float], alpha: float) -> Gate:
        """A gate that misses at most a share ``alpha`` of what a crop would repair.

        Args:
            feature: key of ``FEATURES``.
            repaired: the feature's values of calibration samples that were wrong
                without a crop and right with it.
            alpha: in (0, 1).

        Raises:
            ValueError: for another feature or alpha, or too few samples for it.

        Source: split-conformal prediction (Papadopoulos et al., 2002): of a new sample
            and n others, exchangeable, it is one of the m highest with a chance of
            m / (n + 1), at most alpha; the threshold is the others' m-th highest.
        """
        known(feature, FEATURES, "feature")
        if not 0 < alpha < 1:
            raise ValueError(f"alpha is {alpha}, expected a share between 0 and 1")
        missed = math.floor(alpha * (len(repaired) + 1))
        if not missed:
            raise ValueError(
                f"a gate at alpha {alpha:g} needs {math.ceil(1 / alpha) - 1} "
                f"calibration samples that a crop repaired, got {len(repaired)}; "
                "calibrate on more, or take a larger alpha"
            )
        return cls(feature, sorted(repaired)[-missed])

    @property
    def of_answer(self) -> bool:
        """Whether the feature is the plain answer's, so that no map is needed."""
        return self.feature in OF_ANSWER

    def crops(self, features: Mapping[str, float]) -> bool:
        """Whether to crop."""
        return features[self.feature] <= self.threshold
