"""What the paper leaves open, where it is measured, and measures that answer some."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from analysis import FEWEST, estimates, looking
from analysis.claims import ledger
from vicrop.run import stats
from vicrop.run.scores import rescored
from vicrop.run.stats import Estimate

QUESTIONS = (
    (
        "Does the right crop gain more than any second image would: a random one, the "
        "centre, the whole image twice?",
        "does_cropping_help",
    ),
    ("Is the crop better beside the image than instead of it?", "C19"),
    (
        "What is the accuracy by single layer, and of the mean of all of them?",
        "C11",
    ),
    (
        "Is it fair to compare attention on right and wrong answers, whose objects "
        "differ in size?",
        "C6",
    ),
    (
        "Does the attention ratio hold with the largest cell instead of the sum, with "
        "boxes rounded, with raw attention, with other general prompts?",
        "",
    ),
    ("With and without OCR tokens in the prompt?", "C15"),
    ("Does it hold for newer families?", "C8"),
    ("What does dividing by the general prompt's attention do?", "each_part"),
    ("And questions about several places, such as V*'s on positions?", "C21"),
    ("How much of a gain is the scorer's?", ""),
    ("What does high resolution cost?", ""),
    ("How much would a perfect choice among the three methods win?", "C22"),
    (
        "Is what tiles cost InstructBLIP real, or the noise of V*'s few questions?",
        "C12",
    ),
)
"""What is asked, and the claim or page that answers; nothing where it is asked here."""
HERE = "below"
"""Where a question without a claim or page is answered."""


def answered(
    stand: Sequence[ledger.Standing], lines: Mapping[int, str]
) -> pd.DataFrame:
    """All questions, what the records say of each in a line, and where more stands.

    Args:
        stand: of all claims.
        lines: what is said of those that no claim asks, by number.
    """
    of = {one.claim.key: one for one in stand}
    rows = []
    for number, (asked, where) in enumerate(QUESTIONS, 1):
        one = of.get(where)
        said = f"{where}, {one.word}: {one.why}" if one else lines[number]
        page = one.claim.page if one else where or HERE
        rows.append((number, asked, said, page.partition("#")[0]))
    return pd.DataFrame(rows, columns=["question", "asks", "answer", "where"])


def told(
    found: Mapping[str, Mapping[str, Estimate]], unit: str = "points", null: float = 0
) -> pd.DataFrame:
    """Estimates as a table to read, and on which side of ``null`` each lies.

    Args:
        found: by model, then by what is compared; in ``unit``.
        unit: of all of them.
        null: value of no effect.
    """
    rows = []
    for model, made in found.items():
        for name, one in made.items():
            said, effect = ledger.interval(one, unit), estimates.verdict(one, null)
            if one.n < FEWEST:
                said = said.partition(" ")[0] if one.n else "–"
                effect = "too few" if one.n else "no samples"
            rows.append((model, name, one.n, said, effect))
    columns = ["model", "compared", "n", f"{unit}, 95 %", "effect"]
    return pd.DataFrame(rows, columns=columns)


def sides(found: Iterable[Estimate], null: float = 0) -> str:
    """On which side of ``null`` some estimates lie beyond their intervals, counted."""
    said = [estimates.verdict(one, null) for one in found]
    above, below = said.count("positive"), said.count("negative")
    return f"{above} of {len(said)} above {null:g}, {below} below"


def scores(probe: pd.DataFrame) -> dict[str, Estimate]:
    """Mean of a probe's scores by name, percent."""
    return {
        str(name): stats.accuracy(rows["score"], rows["image"]).times(100)
        for name, rows in probe.groupby("name", sort=False)
    }


def medians(probe: pd.DataFrame) -> dict[str, Estimate]:
    """Median attention ratio of each way to define it."""
    groups = probe.groupby("name", sort=False)
    return {str(name): looking.median(rows) for name, rows in groups}


def scorers(run: pd.DataFrame) -> dict[str, Estimate]:
    """A run's gain by two rules: equality, and whether the label is in the answer.

    The second is the rule of the authors' script for GQA.
    """
    kept = run.dropna(subset=["score"])

    def gain(variant: str) -> np.ndarray:
        was, now = (
            rescored(kept, column, "gqa", variant) for column in ("plain", "answer")
        )
        return now - was

    found = {"equality": gain("as said"), "label in answer": gain("upstream")}
    more = found["label in answer"] - found["equality"]
    found["label in answer over equality"] = more
    return {
        name: stats.bootstrap(one, images=kept["image"]).times(100)
        for name, one in found.items()
    }
