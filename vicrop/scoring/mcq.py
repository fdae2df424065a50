r"""Multiple choice with lettered options: HR-Bench, TreeBench, ZoomBench.

1 if the prediction is the right option's letter or its text, else 0. The options are
the lines "(A) …" or "A. …" of the question; a question without any (ZoomBench has them)
is scored by exact match. A letter is read from "B", "(B)", "B.", "B) tan", "The answer
is (B)"; a text up to case, blanks and the final full stop.

Ours: the benchmarks' own scripts ask a language model where such a rule fails. HR-Bench
asks each question four times, its options rotated, and reports the mean over the four
rotations (``cyclic``); ``every_rotation`` is the stricter share of questions that are
right in all of them, which a model that likes one letter does not get. The authors have
no score for these data.

>>> question = "Which colour is the hat?\n(A) up\n(B) tan\nAnswer with the letter."
>>> score("(B)", ["B"], question), score("Tan.", ["B"], question)
(1.0, 1.0)
>>> score("A tan hat", ["B"], question)
0.0
>>> cyclic([1, 0, 1, 1], [0, 1, 0, 1]), every_rotation([1, 0, 1, 1], [7, 7, 8, 8])
(0.75, 0.5)
"""

import re
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence

from vicrop.scoring import exact

_OPTION = re.compile(r"^(?:\(([A-Z])\)|([A-Z])\.)[ \t]+(\S.*)$", re.MULTILINE)
_ALONE = re.compile(r"\(?([A-Za-z])\)?[.:]?")
_LEADING = re.compile(r"(?:\(([A-Z])\)|([A-Z])[.):])(?=\s|$)")
# Not "the answer is A dog": what follows must close the letter.
_ANNOUNCED = re.compile(
    r"\b(?:answer|option|choice)(?: is)?:? \(?([A-Z])(?=[).,:]|$)", re.IGNORECASE
)


def options(question: str | None) -> dict[str, str]:
    """The question's options by letter; empty unless they run A, B, …."""
    found = _OPTION.findall(question or "")
    made = {first or second: text.strip() for first, second, text in found}
    wanted = [chr(ord("A") + place) for place in range(len(made))]
    return made if len(made) > 1 and list(made) == wanted else {}


def letter(prediction: str) -> str | None:
    """The letter that a text names, in capitals; None if it names none."""
    text = prediction.strip()
    for found in (
        _ALONE.fullmatch(text),
        _LEADING.match(text),
        _ANNOUNCED.search(text),
    ):
        if found:
            return next(filter(None, found.groups())).upper()
    return None


def chosen(text: str, choices: Mapping[str, str]) -> str | None:
    """The letter of the option that a text names, by letter or else by its text."""
    named = letter(text)
    if named in choices:
        return named
    said = exact.normalise(text)
    same = [key for key, option in choices.items() if exact.normalise(option) == said]
    return same[0] if same else None


def score(prediction: str, labels: Sequence[str], question: str | None = None) -> float:
    """1 if the prediction names the option that a label names, else 0.

    Args:
        prediction: a letter, or an option's text.
        labels: likewise; for a question without options, accepted answers.
        question: with its options as lettered lines.
    """
    choices = options(question)
    if not choices:
        return exact.score(prediction, labels)
    said = chosen(prediction, choices)
    return float(said is not None and said in {chosen(t, choices) for t in labels})


def cyclic(scores: Sequence[float], cycles: Sequence[Hashable]) -> float:
    """Mean over the rotations' means.

    Args:
        scores: one for each row.
        cycles: the row's rotation (HR-Bench: ``cycle_category``).

    Raises:
        ValueError: for no row, or unequal numbers.
    """
    means = [sum(group) / len(group) for group in _groups(scores, cycles)]
    return sum(means) / len(means)


def every_rotation(scores: Sequence[float], questions: Sequence[Hashable]) -> float:
    """Share of questions that are right in every rotation.

    Args:
        scores: one for each row.
        questions: what the rotations of one question have in common.

    Raises:
        ValueError: for no row, or unequal numbers.
    """
    groups = _groups(scores, questions)
    return sum(min(group) >= 1 for group in groups) / len(groups)


def _groups(scores: Sequence[float], keys: Sequence[Hashable]) -> list[list[float]]:
    """The scores by key."""
    if not len(scores) == len(keys) > 0:
        raise ValueError(
            f"{len(scores)} scores and {len(keys)} groups, expected as many of each "
            "and at least one"
        )
    groups = defaultdict(list)
    for key, value in zip(keys, scores, strict=True):
        groups[key].append(value)
    return list(groups.values())
