r"""A-OKVQA: direct answers, and multiple choice.

Direct answer: min(1, n / 3) for n of the ten answers that *equal* the prediction: no
normalisation, nobody left out. The official mean leaves out the questions whose
``difficult_direct_answer`` is true, as the caller does who makes one. Multiple choice:
the prediction equals the text of the right choice; a letter stands for the choice that
the question gives that letter.

Source: allenai/aokvqa, ``evaluation/eval_predictions.py``; letters are ours. The
authors' script (``upstream.vqa``) is VQA accuracy over all questions: 2 of 10 is 0.6
and not 0.67, and "a cab" is "cab". It has no multiple choice.

>>> round(score("cab", ["cab"] * 2 + ["taxi"] * 8), 4), score("Cab", ["cab"] * 10)
(0.6667, 0.0)
>>> choice_score("B", ["food"], "What is in his mouth?\n(A) toothpick\n(B) food")
1.0
"""

from collections.abc import Sequence

from vicrop.scoring import mcq


def score(prediction: str, labels: Sequence[str]) -> float:
    """The direct answer's score."""
    return min(1.0, list(labels).count(prediction) / 3)


def choice_score(
    prediction: str, labels: Sequence[str], question: str | None = None
) -> float:
    """1 if the prediction is the right choice, or its letter in the question, else 0.

    Args:
        prediction: a choice's text, as it is, or a letter.
        labels: the text of the right choice.
        question: with the choices as lettered lines; needed for letters only.
    """
    if prediction in labels:
        return 1.0
    choices = mcq.options(question)
    return float(choices.get(mcq.letter(prediction)) in labels)
