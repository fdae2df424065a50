"""Scores by data set, each in [0, 1]: the official one and the authors'.

One module per metric says its formula, its source and what the authors' script does
instead. ``METRICS`` says which data set has which.

Accents are composed (NFC) before an official score, which no published script does but
a text stays the same. Full-width letters, typographic quotes and dashes are what they
read as in our own metrics only (``exact.as_typed``): published scripts, and the
authors', tell them apart.
"""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vicrop.scoring import (
    anls,
    aokvqa,
    exact,
    gqa,
    mcq,
    normalise,
    pope,
    upstream,
    vqa,
    vstar,
)

Scorer = Callable[[str, Sequence[str], str | None], float]
"""Prediction, labels and question -> score."""

VARIANTS = ("official", "upstream")


@dataclass(frozen=True)
class Metric:
    """The scores of one data set."""

    official: Scorer
    upstream: Scorer | None = None
    """The authors' own; None for data that they never scored."""
    prepared: Callable[[str], str] = str
    """What is done to an answer before the official score, if anything."""


def _plain(scorer: Callable[[str, Sequence[str]], float]) -> Scorer:
    """A score that does not read the question."""
    return lambda prediction, labels, question: scorer(prediction, labels)


EXACT = Metric(_plain(exact.score))

METRICS: dict[str, Metric] = {
    **dict.fromkeys(["plates", "plates-hd", "plates-wide", "plates-val"], EXACT),
    "textvqa": Metric(_plain(vqa.textvqa), _plain(upstream.vqa)),
    "vqav2": Metric(_plain(vqa.visualqa), _plain(upstream.vqa), normalise.m4c),
    "docvqa": Metric(_plain(anls.score), _plain(upstream.docvqa)),
    "infographicvqa": Metric(_plain(anls.score)),
    "gqa": Metric(_plain(gqa.score), _plain(upstream.gqa), gqa.prepared),
    "aokvqa": Metric(_plain(aokvqa.direct), _plain(upstream.vqa), gqa.prepared),
    "aokvqa-mc": Metric(aokvqa.choice),
    "pope": Metric(_plain(pope.score), _plain(upstream.pope)),
    "vstar": Metric(_plain(vstar.score), upstream.vstar),
    **dict.fromkeys(
        ["hr-bench-4k", "hr-bench-8k", "treebench", "zoombench"], Metric(mcq.score)
    ),
}
"""The metric of each data set; another folder's data are scored by exact match."""


def has_upstream(dataset: str) -> bool:
    """Whether the authors have a score for a data set."""
    return METRICS.get(dataset, EXACT).upstream is not None


def prepared(dataset: str, prediction: str) -> str:
    """An answer as the official script of a data set is given it.

    Some scripts compare raw text, because the models of their time chose from a list of
    answers. A model that says "Yes" is wrong there. Published numbers of today's models
    are all made from prepared answers; so are the scores in records and tables, which
    show the raw ones beside them. ``score`` itself prepares nothing.

    - GQA: lower case, no final stop (LLaVA, ``convert_gqa_for_eval.py``).
    - VQAv2: TextVQA's normal form (LLaVA, ``convert_vqav2_for_submission.py``).
    - A-OKVQA: as GQA; there is no published way that we know.

    >>> prepared("gqa", "Yes."), prepared("docvqa", "Yes.")
    ('yes', 'Yes.')
    """
    return METRICS.get(dataset, EXACT).prepared(prediction)


def as_upstream(dataset: str, labels: Sequence[str]) -> str | list[str]:
    """Labels in the shape that the authors' own file of a data set had.

    Their script depends on it: POPE's label is a bare string, V*'s letter stands ten
    times (the paper's V* numbers are whole 191sts, so a right answer got full marks).

    Raises:
        ValueError: if there is no label, or POPE or V* have two that differ.

    >>> as_upstream("pope", ["no"]), len(as_upstream("vstar", ["B"]))
    ('no', 10)
    """
    labels = _listed(dataset, labels)
    if dataset not in ("pope", "vstar"):
        return labels
    if len(set(labels)) > 1:
        raise ValueError(f"{dataset!r} labels {labels} differ, expected one label")
    return labels[0] if dataset == "pope" else labels[:1] * vqa.TEN


def score(
    dataset: str,
    prediction: str,
    labels: Sequence[str] | str,
    question: str | None = None,
    variant: str = "official",
) -> float:
    """How right a prediction is.

    Args:
        dataset: key of ``METRICS``; another folder's data are scored by exact match.
        prediction: the model's answer.
        labels: accepted answers; for the official score one string is one label. The
            authors' depends on the shape: see ``as_upstream``.
        question: for metrics that read the options in it.
        variant: ``official`` or ``upstream``, the authors' script.

    Returns:
        From 0 (wrong) to 1 (right). Only the authors' GQA score of a label given as a
        bare string goes up to its number of letters.

    Raises:
        ValueError: for an unknown variant, a prediction that is no text, no labels,
            labels that the metric cannot use, or data that the authors never scored.
    """
    if not isinstance(prediction, str):
        raise ValueError(
            f"prediction {prediction!r} for {dataset!r} is no text; score answers only,"
            " and count failed samples apart"
        )
    metric = METRICS.get(dataset, EXACT)
    if variant == "official":
        every = (prediction, *_listed(dataset, labels))
        said, *right = (unicodedata.normalize("NFC", text) for text in every)
        return metric.official(said, right, question)
    if variant != "upstream":
        raise ValueError(f"unknown variant {variant!r}; known: {', '.join(VARIANTS)}")
    if metric.upstream is None:
        raise ValueError(
            f"the authors have no score for {dataset!r}; use variant='official'"
        )
    return metric.upstream(prediction, labels, question)


def of_answer(
    dataset: str, text: str, labels: Sequence[str], question: str | None = None
) -> float | None:
    """The official score of an answer as it was given; None where nothing is known."""
    said = prepared(dataset, text)
    return score(dataset, said, labels, question) if labels else None


def _listed(dataset: str, labels: Sequence[str] | str) -> list[str]:
    """Labels as a list, never an empty one."""
    listed = [labels] if isinstance(labels, str) else list(labels)
    if not listed:
        raise ValueError(
            f"{dataset!r} question has no labels; a test split without answers cannot"
            " be scored, use the validation split"
        )
    return listed
