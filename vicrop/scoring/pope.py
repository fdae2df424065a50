"""POPE: is the object there, yes or no?

An answer is read from its first sentence: ``no`` if one of its words is ``No``, ``no``
or ``not``, else ``yes`` (an empty answer too). One question scores 1 or 0; over a whole
file ``rates`` gives precision, recall and F1 of "yes", and the share of it.

>>> [score(said, ["no"]) for said in ("No, there is none.", "NO", "None", "")]
[1.0, 0.0, 0.0, 0.0]
>>> float(rates(np.array([1, 1]), np.array([1, 0]), np.array([2, 2]))["F1"])
0.6666666666666666

The authors' script takes the more similar of "yes" and "no" (difflib, case-sensitive, a
tie is "yes"), so that ``None`` and ``unknown`` are "no"; it reports accuracy only, over
all three files at once.

Source: Li et al. 2023, evaluate.py (AoiDragon/POPE), the same as LLaVA's eval_pope.py.
"""

from collections.abc import Sequence

import numpy as np

RATES = ("precision", "recall", "F1", "yes ratio")

NO_WORDS = frozenset({"No", "no", "not"})


def read(prediction: str) -> str:
    """``yes`` or ``no``, whichever an answer says.

    >>> read("There is not a dog."), read("Yes. No dog though."), read("")
    ('no', 'yes', 'yes')
    """
    words = prediction.split(".")[0].replace(",", "").split(" ")
    return "yes" if NO_WORDS.isdisjoint(words) else "no"


def score(prediction: str, labels: Sequence[str]) -> float:
    """1 if the answer says what the label says, else 0."""
    return float(read(prediction) in labels)


def rates(
    said: np.ndarray, true: np.ndarray, counts: np.ndarray
) -> dict[str, np.ndarray]:
    """How often "yes" is said, and how well; 0 where a rate is 0 / 0.

    (No "yes" was said, or none is true: the official script divides by zero there.)

    Args:
        said: (kinds,) whether answers of a kind say "yes".
        true: (kinds,) whether "yes" is right.
        counts: (…, kinds) how many answers there are of each kind.

    Returns:
        ``RATES``, each (…).
    """
    said, true = said.astype(bool), true.astype(bool)
    both, yes, is_so = (counts[..., k].sum(-1) for k in (said & true, said, true))
    parts = (both, both, 2 * both, yes)
    wholes = (yes, is_so, yes + is_so, counts.sum(-1))
    return {
        name: np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole != 0)
        for name, part, whole in zip(RATES, parts, wholes, strict=True)
    }
