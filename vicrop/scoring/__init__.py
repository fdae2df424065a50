"""Scores by data set, each in [0, 1]: the official one, and the paper's authors'.

>>> score("docvqa", "", ["Edward Shannon"])
0.0
>>> score("docvqa", "", ["Edward Shannon"], variant="upstream")
1.0
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vicrop.scoring import anls, aokvqa, exact, gqa, mcq, pope, upstream, vqa, vstar
from vicrop.scoring.upstream import Labels, as_upstream

__all__ = ["METRICS", "VARIANTS", "Metric", "as_upstream", "has_upstream", "score"]

VARIANTS = ("official", "upstream")

# (prediction, labels, question) -> score
Rule = Callable[[str, Labels, str | None], float]


@dataclass(frozen=True)
class Metric:
    """How a data set is scored."""

    official: Rule
    upstream: Rule | None = None
    """The authors' script; None where it has no score."""


def _unasked(rule: Callable[[str, Labels], float]) -> Rule:
    """A rule that does not read the question."""
    return lambda prediction, labels, question: rule(prediction, labels)


_EXACT = Metric(_unasked(exact.score))
_MCQ = Metric(mcq.score)
_UPSTREAM_VQA = _unasked(upstream.vqa)

METRICS: dict[str, Metric] = {
    "plates": _EXACT,
    "plates-hd": _EXACT,
    "plates-wide": _EXACT,
    "plates-val": _EXACT,
    "textvqa": Metric(_unasked(vqa.textvqa_score), _UPSTREAM_VQA),
    "docvqa": Metric(_unasked(anls.score), _unasked(upstream.docvqa)),
    "gqa": Metric(_unasked(gqa.score), _unasked(upstream.gqa)),
    "aokvqa": Metric(_unasked(aokvqa.score), _UPSTREAM_VQA),
    "aokvqa-mc": Metric(aokvqa.choice_score),
    "pope": Metric(_unasked(pope.score), _unasked(upstream.pope)),
    "vstar": Metric(_unasked(vstar.score), upstream.vstar),
    "vqav2": Metric(_unasked(vqa.vqav2_score), _UPSTREAM_VQA),
    "hr-bench-4k": _MCQ,
    "hr-bench-8k": _MCQ,
    "treebench": _MCQ,
    "zoombench": _MCQ,
    "infographicvqa": Metric(_unasked(anls.score)),
}
"""The metric of each data set; a folder of one's own data is scored by exact match."""


def has_upstream(dataset: str) -> bool:
    """Whether the authors' script scores the data set: the paper's seven."""
    return METRICS.get(dataset, _EXACT).upstream is not None


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
        labels: accepted answers; one text is one label. For ``upstream`` the shape
            matters as it does in the authors' script: see ``as_upstream``.
        question: with its options, for the multiple-choice metrics.
        variant: ``official``, or ``upstream`` for the score that the paper's authors'
            script gives, defects included.

    Returns:
        From 0 (wrong) to 1 (right); upstream, a bare text as GQA's label, up to its
        number of letters.

    Raises:
        ValueError: for an unknown variant, data that the authors have no score for, a
            prediction that is no text, or labels that the metric cannot use.
    """
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}; known: {', '.join(VARIANTS)}")
    if not isinstance(prediction, str):
        raise ValueError(f"prediction {prediction!r} is no text; score answers only")
    metric = METRICS.get(dataset, _EXACT)
    if variant == "upstream":
        return _upstream(metric, dataset)(prediction, labels, question)
    return metric.official(prediction, _official_labels(labels), question)


def _upstream(metric: Metric, dataset: str) -> Rule:
    if metric.upstream is None:
        known = ", ".join(filter(has_upstream, METRICS))
        raise ValueError(f"the authors have no score for {dataset!r}, only for {known}")
    return metric.upstream


def _official_labels(labels: Labels) -> list[str]:
    """Labels as a list."""
    made = [labels] if isinstance(labels, str) else list(labels)
    if not made:
        raise ValueError("no labels, expected at least one; test splits have none")
    return made
