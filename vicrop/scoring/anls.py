"""ANLS: normalised Levenshtein similarity, for DocVQA and InfographicVQA.

The best over the labels of 1 - distance / length; below one half it is 0. The distance
is between lower-cased texts without needless blanks, but the length is that of the
longer *raw* text (the portal's script does so), hence blanks that the distance does not
see still soften it.

>>> round(score("Edward Shanon", ["Edward Shannon"]), 4)
0.9286
>>> [score(said, ["Edward Shannon"]) for said in ("Shannon", "")]
[0.5, 0.0]
>>> round(score("itc  limitd", ["itc limited"]), 4)
0.9091

The authors' script asks instead whether the prediction lies in a label or a label in
the prediction, case and all: an empty answer is always right, so is any long sentence
that holds the label, and a wrong capital is always wrong.

Source: Biten et al. 2019; the portal's script (copy in QwenLM/Qwen-VL,
infographicsvqa_eval.py), equal to lmms-eval's and VLMEvalKit's.
"""

from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

THRESHOLD = 0.5


def score(prediction: str, labels: Sequence[str]) -> float:
    """ANLS of one question as the portal computes it.

    Two empty texts are the same, hence 1.
    """
    best = max(_similarity(prediction, label) for label in labels)
    return best if best >= THRESHOLD else 0.0


def _similarity(prediction: str, label: str) -> float:
    """1 - distance of the tidy texts / raw length, and 1 where the length is 0."""
    # The script measures the upper-cased text, which can be longer (ß is SS).
    length = max(len(prediction.upper()), len(label.upper()))
    distance = Levenshtein.distance(tidy(prediction), tidy(label))
    return 1 - distance / length if length else 1.0


def tidy(text: str) -> str:
    """Lower case, single blanks, none at either end."""
    return " ".join(text.lower().split())
