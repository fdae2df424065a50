"""ANLS: normalised Levenshtein similarity, for DocVQA and InfographicVQA.

The best over the labels of 1 - distance / length; below one half it is 0. The distance
is between lower-cased texts without needless blanks, but the length is that of the
longer *raw* text (the portal's script does so), hence blanks that the distance does not
see still soften it.

>>> round(score("Edward Shanon", ["Edward Shannon"]), 4)
0.9286
>>> score("Shannon", ["Edward Shannon"]), paper("Shannon", ["Edward Shannon"])
(0.5, 0.0)
>>> score("", ["Edward Shannon"])
0.0
>>> [round(form("itc  limitd", ["itc limited"]), 4) for form in (score, m4c)]
[0.9091, 0.8182]

The authors' script asks instead whether the prediction lies in a label or a label in
the prediction, case and all: an empty answer is always right, so is any long sentence
that holds the label, and a wrong capital is always wrong.

Source: Biten et al. 2019; the portal's script (copy in QwenLM/Qwen-VL,
infographicsvqa_eval.py), equal to lmms-eval's and VLMEvalKit's.
"""

from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

THRESHOLD = 0.5


def similarity(said: str, label: str, length: int) -> float:
    """1 - edit distance / length, and 1 where the length is 0."""
    return 1 - Levenshtein.distance(said, label) / length if length else 1.0


def score(prediction: str, labels: Sequence[str]) -> float:
    """ANLS of one question as the portal computes it.

    Two empty texts are the same, hence 1.
    """
    best = max(_portal(prediction, label) for label in labels)
    return best if best >= THRESHOLD else 0.0


def _portal(prediction: str, label: str) -> float:
    """Similarity of tidy texts over the raw length, as the portal has it."""
    # The script measures the upper-cased text, which can be longer (ß is SS).
    length = max(len(prediction.upper()), len(label.upper()))
    return similarity(tidy(prediction), tidy(label), length)


def tidy(text: str) -> str:
    """Lower case, single blanks, none at either end."""
    return " ".join(text.lower().split())


def m4c(prediction: str, labels: Sequence[str]) -> float:
    """ANLS with inner blanks kept and the stripped length, as M4C has it."""
    best = max(_stripped(prediction, label) for label in labels)
    return best if best >= THRESHOLD else 0.0


def paper(prediction: str, labels: Sequence[str]) -> float:
    """ANLS as its paper writes it: a similarity of exactly one half is 0 as well."""
    best = max(_stripped(prediction, label) for label in labels)
    return best if best > THRESHOLD else 0.0


def _stripped(prediction: str, label: str) -> float:
    """Similarity of lower-cased, stripped texts over the longer of them."""
    said, truth = prediction.lower().strip(), label.lower().strip()
    return similarity(said, truth, max(len(said), len(truth)))
