"""ANLS, average normalised Levenshtein similarity: DocVQA and InfographicVQA.

For each label 1 - distance / length, and the best of them; below 0.5 it counts as 0.
The distance is between the texts in lower case with single blanks, the length is that
of the longer text *as given* (the Robust Reading Competition's script, which measures
it in upper case). So case and blanks never make a right answer wrong, but extra blanks
may make a near miss a little less wrong.

Sources: Biten et al. 2019 (arXiv:1905.13648); rrc.cvc.uab.es, whose script Qwen-VL's
``eval_mm/infographicsvqa_eval.py`` copies. Two more readings are in use: M4C's divides
by the length of the text in lower case without blanks around it (``m4c_score``), and
the paper's formula gives 0, not 0.5, to a text that is half wrong (``strict_score``).

The authors' script (``upstream.docvqa``) asks whether the label is in the prediction or
the prediction in the label, case and all: an empty answer is right, "edward shannon"
for "Edward Shannon" is wrong. It moves DocVQA's numbers both ways.

>>> round(score("Edward Shanon", ["Edward Shannon"]), 4)
0.9286
>>> score("", ["Edward Shannon"]), score("11", ["1"]), strict_score("11", ["1"])
(0.0, 0.5, 0.0)
"""

from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

THRESHOLD = 0.5


def _similarity(one: str, other: str, length: int) -> float:
    return 1 - Levenshtein.distance(one, other) / length if length else 1.0


def single_blanks(text: str) -> str:
    """Lower case, no blanks around it, single ones inside."""
    return " ".join(text.lower().split())


def similarity(prediction: str, label: str) -> float:
    """1 - distance / length as the competition's script measures them; 1 at most."""
    length = max(len(prediction.upper()), len(label.upper()))
    return _similarity(single_blanks(prediction), single_blanks(label), length)


def trimmed_similarity(prediction: str, label: str) -> float:
    """1 - distance / length, both of the texts in lower case, blanks inside kept."""
    one, other = prediction.lower().strip(), label.lower().strip()
    return _similarity(one, other, max(len(one), len(other)))


def score(prediction: str, labels: Sequence[str]) -> float:
    """ANLS of one question; exactly half right is 0.5."""
    best = max(similarity(prediction, label) for label in labels)
    return best if best >= THRESHOLD else 0.0


def m4c_score(prediction: str, labels: Sequence[str]) -> float:
    """ANLS as M4C's evaluator has it."""
    best = max(trimmed_similarity(prediction, label) for label in labels)
    return best if best >= THRESHOLD else 0.0


def strict_score(prediction: str, labels: Sequence[str]) -> float:
    """ANLS as the paper's formula reads; exactly half right is 0."""
    best = max(trimmed_similarity(prediction, label) for label in labels)
    return best if best > THRESHOLD else 0.0
