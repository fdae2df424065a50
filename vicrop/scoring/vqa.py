"""VQA accuracy: TextVQA and VQAv2.

Ten people answered. Leave each of them out in turn: min(1, matches among the rest / 3);
the score is the mean of the ten, which is min(1, 0.3 n) for n matches. Prediction and
labels are normalised first, in one of two ways:

- ``textvqa_score``: TextVQA's processor (Pythia / M4C and EvalAI; LLaVA and lmms-eval
  too). Commas and question marks go, and ``'s`` is split off. Ten labels, no others.
- ``vqav2_score``: visualqa.org's evaluator. It normalises *nothing* where all labels
  are the same text, so "Yes" against ten times "yes" is wrong.

Sources: visualqa.org/evaluation.html; GT-Vision-Lab/VQA; facebookresearch/mmf, class
EvalAIAnswerProcessor. The authors' script (``upstream.vqa``) is 0.3 n, at most 1, after
visualqa.org's normalisation: the same number for ten labels that are not all the same
(commas and 's aside on TextVQA), more where visualqa.org skips its normalisation, and
0.3 for the only label of a question.

>>> textvqa_score("Nokia.", ["nokia"] * 3 + ["samsung"] * 7)
0.9
>>> textvqa_score("Nokia", ["nokia"] * 10), vqav2_score("Nokia", ["nokia"] * 10)
(1.0, 0.0)
"""

import re
from collections.abc import Sequence

from vicrop.scoring import contractions

PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
NUMBERS = {"none": "0"} | {
    word: str(number)
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten".split()
    )
}
ARTICLES = {"a", "an", "the"}

_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_STOP = re.compile(r"\.(?!\d)")
# The evaluator passes a flag of `re` (32) where `sub` takes a number of replacements.
_STOPS_DROPPED = 32


def without_punctuation(text: str) -> str:
    """The text with each mark deleted or made a blank, and most full stops deleted.

    A mark that touches a blank anywhere is deleted everywhere, and so is every mark if
    a comma stands between digits; other marks become blanks.
    """
    delete_all = _COMMA_IN_NUMBER.search(text) is not None
    made = text
    for mark in PUNCTUATION:
        delete = delete_all or f"{mark} " in text or f" {mark}" in text
        made = made.replace(mark, "" if delete else " ")
    return _STOP.sub("", made, count=_STOPS_DROPPED)


def plain_words(text: str) -> str:
    """Lower case, digits for number words, no articles, contractions in full."""
    words = [NUMBERS.get(word, word) for word in text.lower().split()]
    kept = [word for word in words if word not in ARTICLES]
    return " ".join(contractions.TABLE.get(word, word) for word in kept)


def normalise(text: str) -> str:
    """visualqa.org's normalisation, which the authors' script shares."""
    return plain_words(without_punctuation(text))


def one_line(text: str) -> str:
    """The text without line breaks, tabs and blanks around it."""
    return text.replace("\n", " ").replace("\t", " ").strip()


def normalise_textvqa(text: str) -> str:
    """TextVQA's normalisation: its own first pass, then visualqa.org's."""
    lower = text.lower().replace(",", "").replace("?", "").replace("'s", " 's")
    return normalise(one_line(lower))


def leave_one_out(said: str, labels: Sequence[str]) -> float:
    """Mean over the labels of min(1, matches among the others / 3).

    Args:
        said: the prediction, normalised.
        labels: at least one, normalised; by position, so that equal ones are several.
    """
    n, total = list(labels).count(said), len(labels)
    # Thirds are counted as whole numbers, so that 3 of 10 is 0.9 and not 0.8999….
    return (n * min(3, n - 1) + (total - n) * min(3, n)) / (3 * total)


def textvqa_score(prediction: str, labels: Sequence[str]) -> float:
    """VQA accuracy in TextVQA's form.

    Raises:
        ValueError: unless there are ten labels.
    """
    if len(labels) != 10:
        raise ValueError(
            f"{len(labels)} labels {list(labels)!r:.80}, expected 10 (TextVQA's "
            "accuracy is defined for ten); give all answers of the original file"
        )
    return leave_one_out(
        normalise_textvqa(prediction), [normalise_textvqa(label) for label in labels]
    )


def vqav2_score(prediction: str, labels: Sequence[str]) -> float:
    """VQA accuracy in visualqa.org's form, for any number of labels.

    With a single label nobody is left to agree with: 0 for any prediction.
    """
    said, texts = one_line(prediction), [one_line(label) for label in labels]
    if len(set(texts)) > 1:
        said, texts = normalise(said), [normalise(text) for text in texts]
    return leave_one_out(said, texts)
