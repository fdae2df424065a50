"""Scores by data set, each in [0, 1]."""

from collections.abc import Callable, Sequence

from vicrop.scoring import exact

Metric = Callable[[str, Sequence[str]], float]

METRICS: dict[str, Metric] = {
    "plates": exact.score,
    "plates-hd": exact.score,
    "plates-wide": exact.score,
    "plates-val": exact.score,
}
"""The official metric of each data set."""


def score(
    dataset: str,
    prediction: str,
    labels: Sequence[str],
    question: str | None = None,
    variant: str = "official",
) -> float:
    """How right a prediction is.

    Args:
        dataset: key of ``METRICS``; another folder's data are scored by exact match.
        prediction: the model's answer.
        labels: accepted answers.
        question: for metrics that read it.
        variant: ``official``.

    Returns:
        From 0 (wrong) to 1 (right).

    Raises:
        ValueError: for an unknown variant, or labels given as one string.
    """
    if variant != "official":
        raise ValueError(f"unknown variant {variant!r}; known: official")
    if isinstance(labels, str):
        raise ValueError(f"labels must be a list of strings, got the string {labels!r}")
    return METRICS.get(dataset, exact.score)(prediction, labels)
