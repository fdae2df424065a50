"""V*: the letter of the right option.

There is no official rule for a text: the benchmark's own script compares the language
model's losses over the option texts. Ours is strict: an answer must name one letter, A
to D, as ``mcq.letter`` reads it, and an option's text alone names none. lmms-eval takes
any answer's first letter; many published numbers were made so.

>>> answers = ("B", "(B) red", "the answer is B", "red", "Based on it, red", "Blue")
>>> [score(said, ["B"]) for said in answers]
[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]

The authors' script takes the option line that difflib finds most similar to the
answer: ``standing`` is then right, an empty answer is the first option, and ``(B)`` can
lose to a shorter line. It counts matches as VQA accuracy, so that a label needs copies.

Source: Wu & Xie 2023; lmms-eval, tasks/vstar_bench/utils.py (75571cf).
"""

from collections.abc import Sequence

from vicrop.scoring import mcq

LETTERS = {letter: letter for letter in "ABCD"}


def score(prediction: str, labels: Sequence[str]) -> float:
    """1 if the answer's letter is the label, however many copies of it there are."""
    right = {label.strip().upper() for label in labels}
    return float(mcq.letter(prediction, LETTERS) in right)
