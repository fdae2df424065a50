"""What the paper's own numbers would take: sizes of the matrix, planned, not tried."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from analysis import paper
from analysis.claims.claims import CLAIMS
from analysis.claims.readings import Answers
from vicrop.adapters import registry
from vicrop.methods import HIGH, MAPS, NEEDS_TRUTH
from vicrop.run.records import RunConfig
from workflow import matrix, plans

EXPECTED = {
    "table1": "Table 1, gain small / medium / large: " + paper.human("llava"),
    "table2": "Table 2, llava, rel-att: "
    + paper.listed(
        {n: paper.TABLE_2.change("llava", "rel-att", n) for n in ("textvqa", "vstar")}
    ),
    "table3-vstar": "Table 3, llava, tiles − none: " + paper.tiles("llava"),
}
ANSWER_TOKENS = 4
"""Of an answer: then the paper's Table 4 gives the seconds of its Table 7."""
TILES = {"vstar": 4, "hr-bench-4k": 16, "hr-bench-8k": 32}
"""About how many 1024-pixel tiles a picture of these data sets is looked at in."""
SPARE = 1.25
"""Memory of a GPU over that of the weights."""
RECORD_BYTES = 500
TIMED = ("llava", "instructblip")

Published = Mapping[str, tuple[int, float]]
"""Questions and GB of the download, by data set."""


def seconds(config: RunConfig) -> float:
    """Of one answer on the paper's GPU, from its Table 4.

    A model that it did not time counts as its slower one, a map as rel-att.
    """
    family = registry.find(config.model).family
    model = family if family in TIMED else TIMED[0]
    answer = ANSWER_TOKENS * paper.TABLE_4.value(model, "no-crop", "GPU, s")
    method = config.method.removesuffix(HIGH)
    if method not in MAPS:
        return answer
    timed = method if (model, method) in paper.TABLE_4.rows else "rel-att"
    looks = TILES.get(config.dataset, 1) if config.method.endswith(HIGH) else 1
    return answer + looks * paper.TABLE_4.value(model, timed, "GPU, s")


def questions(config: RunConfig, published: Published) -> int:
    """That a run asks of the published data."""
    count, _ = published[config.dataset]
    if config.method in NEEDS_TRUTH and config.dataset == "textvqa":
        count = sum(paper.GROUP_COUNTS.values())  # have a box
    return min(config.limit or count, count)


def claims(configs: Iterable[RunConfig]) -> list[str]:
    """The claims of which some reading can be made from these runs."""
    made = {(one.model, one.method, one.dataset) for one in configs}
    return [
        claim.key
        for claim in CLAIMS
        if any(
            _made(reading.needs, model, made)
            for model in {model for model, _, _ in made}
            for reading in claim.of(model)
        )
    ]


def _made(needs: Sequence, model: str, made: set[tuple[str, str, str]]) -> bool:
    return bool(needs) and all(
        isinstance(need, Answers)
        and (need.model or model, need.method, need.dataset) in made
        for need in needs
    )


def table(sizes: Iterable[str], published: Published) -> pd.DataFrame:
    """A row a size: its claims, command, work, hours, memory and disk."""
    return pd.DataFrame([_row(size, published) for size in sizes])


def _row(size: str, published: Published) -> dict[str, object]:
    configs, _ = matrix.chosen(plans.MATRIX, size)
    asked = {one.run_id: questions(one, published) for one in configs}
    spent = sum(seconds(one) * asked[one.run_id] for one in configs)
    specs = [registry.find(model) for model in {one.model for one in configs}]
    weights = [spec.size_gb for spec in specs]
    data = sum(published[name][1] for name in {one.dataset for one in configs})
    records = sum(asked.values()) * RECORD_BYTES / 1e9
    return {
        "claims": ", ".join(claims(configs)) or "–",
        "command": f"make run SIZE={size}",
        "expected (the paper's)": EXPECTED.get(size, "–"),
        "answers": f"{sum(asked.values()):,}",
        "GPU hours": round(spent / 3600),
        "GPU memory, GB": round(max(weights) * SPARE),
        "disk, GB": round(sum(weights) + data + records),
    }
