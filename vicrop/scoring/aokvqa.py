r"""A-OKVQA: direct answers, and multiple choice.

``direct``: min(1, n / 3), n being how many of the ten direct answers equal the
prediction: plain equality, no normalisation, nothing left out. (The official mean drops
the rows with ``difficult_direct_answer``; that is the table's affair, not a score's.)
``choice``: the prediction is the right choice, by its text or by its letter.

>>> direct("cab", ["cab"] * 2 + ["taxi"] * 8), direct("a cab", ["cab"] * 10)
(0.6666666666666666, 0.0)
>>> question = "What is it?\n(A) cab\n(B) bus\nAnswer with the letter."
>>> [choice(said, ["cab"], question) for said in ("cab", "Cab.", "(A)", "B")]
[1.0, 1.0, 1.0, 0.0]

The authors' script scores direct answers as VQA accuracy over all rows: 30, 60, 90
where the official score is 33, 67, 100, but ``a cab`` and ``Cab`` are right. They have
no score for multiple choice.

Source: Schwenk et al. 2022; allenai/aokvqa, evaluation/eval_predictions.py (83786de).
"""

from collections.abc import Sequence

from vicrop.scoring import exact, mcq


def direct(prediction: str, labels: Sequence[str]) -> float:
    """Direct-answer score: full marks from three equal answers on."""
    return min(1.0, list(labels).count(prediction) / 3)


def choice(
    prediction: str, labels: Sequence[str], question: str | None = None
) -> float:
    """1 if the prediction names the right choice, else 0.

    The official evaluator gets the choice's text; a letter is ours to look up, since
    the models see lettered options.

    Args:
        prediction: the choice's text, or its letter.
        labels: the right choice's text.
        question: with the lettered options, one a line; none read means text only.
    """
    by_letter = mcq.score(prediction, labels, question)
    return max(exact.score(prediction, labels), by_letter)
