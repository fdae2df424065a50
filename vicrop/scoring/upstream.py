r"""The scores of the authors' ``get_score.py``, with all they get wrong.

They show how much of a published gain is the scorer's. Written from a description of
saccharomycetes/mllms_know at a64c5d5 and held to what that script computes; in [0, 1]
where it has percent. Each takes its labels in the shape that the script needs
(``as_upstream`` makes it from ours) and does what the script does with other shapes:

| data | labels | rule | other shapes |
|---|---|---|---|
| textvqa, aokvqa, vqav2 | ten texts | min(1, 0.3 n), VQA normalisation | 0.3 a copy |
| docvqa | list | label in prediction or prediction in label | letter by letter |
| gqa | list of one | normalised label in the prediction | letter by letter |
| pope | bare text | the more similar of yes and no (difflib) | a list: always 0 |
| vstar | ten letters | the most similar option line (difflib) | one: 0.3 at most |

One case leaves [0, 1]: a bare GQA label counts a hit for each of its letters.

>>> docvqa("", ["Edward Shannon"]), gqa("woman", ["man"]), gqa("yes", "yes")
(1.0, 1.0, 3.0)
>>> pope("None", "no"), pope("yes", ["yes"]), vqa("nokia", ["nokia"])
(1.0, 0.0, 0.3)
>>> question = "Which pose?\n(A) walking\n(B) standing\nAnswer with the letter."
>>> vstar("standing", ["B"] * 10, question), vstar("", ["A"] * 10, question)
(1.0, 1.0)
"""

from collections.abc import Sequence
from difflib import SequenceMatcher

from vicrop.scoring.vqa import normalise

Labels = Sequence[str] | str


def vqa(prediction: str, labels: Labels) -> float:
    """0.3 for each label that equals the prediction, 1 at most."""
    said = normalise(prediction)
    return min(1.0, 3 * sum(said == normalise(label) for label in labels) / 10)


def docvqa(prediction: str, labels: Labels) -> float:
    """1 if a label is in the prediction or the prediction in a label, case and all."""
    return float(any(prediction in label or label in prediction for label in labels))


def gqa(prediction: str, labels: Labels) -> float:
    """1 if a normalised label is in the normalised prediction.

    The letters of a bare text are counted, as in the script, which counts the labels of
    a list too; GQA's lists have one.
    """
    said = normalise(prediction)
    hits = float(sum(normalise(label) in said for label in labels))
    return hits if isinstance(labels, str) else min(1.0, hits)


def pope(prediction: str, labels: Labels) -> float:
    """1 if the more similar of yes and no is the label; a tie, as of "", is a yes."""
    return float(("yes", "no")[most_similar(prediction, ("yes", "no"))] == labels)


def vstar(prediction: str, labels: Labels, question: str | None) -> float:
    """VQA accuracy of the letter of the option line that looks most like the answer.

    Args:
        prediction: the model's answer.
        labels: copies of the letter; four or more for full credit.
        question: the stem, one line an option, and a last line, which is not read.

    Raises:
        ValueError: unless the question has one to four such lines between its first and
            last.
    """
    lines = (question or "").split("\n")[1:-1]
    if not 1 <= len(lines) <= 4:
        raise ValueError(
            f"question {question!r:.80} has {len(lines)} lines between its first and "
            "its last, expected 1 to 4 option lines; give stem, options and instruction"
        )
    return vqa("ABCD"[most_similar(prediction, lines)], labels)


def most_similar(text: str, candidates: Sequence[str]) -> int:
    """Place of the candidate that difflib finds most like the text, first of ties."""
    ratios = [SequenceMatcher(None, text, other).ratio() for other in candidates]
    return ratios.index(max(ratios))


def as_upstream(dataset: str, labels: Labels) -> Labels:
    """Labels of our data in the shape that the authors' own data had.

    Args:
        dataset: key of the data set.
        labels: as our data have them, a list.

    Returns:
        POPE's one label as a bare text, ten copies of V*'s letter, others unchanged.

    Raises:
        ValueError: unless POPE and V* have one label.
    """
    if dataset not in ("pope", "vstar"):
        return labels
    different = {labels} if isinstance(labels, str) else set(labels)
    if len(different) != 1:
        raise ValueError(f"{dataset} labels {labels!r}, expected one")
    (only,) = different
    return only if dataset == "pope" else [only] * 10
