"""Makes the evidence that no run records: what a page measures for the ledger."""

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from analysis import costs, crops, looking
from analysis.claims import probes
from analysis.claims.evidence import Evidence, Run
from vicrop import adapters
from vicrop.adapters.adapter import Adapter
from vicrop.run import datasets

ALL = ("layers, all sizes", "map's layer, all sizes")
"""Of objects of all sizes; all other probes are of small ones."""

NAMES = ("layers", "map's layer", *ALL, "zoom", "chosen layer", "crop alone")
"""What the claims need."""

COMMAND = (
    "papermill notebooks/claims.ipynb claims-gpu.ipynb -k python3 -p dataset textvqa "
    "-p device cuda -p dtype bfloat16 -y 'models: [{models}]'"
)
"""Makes the probes of models that need a GPU."""


def probe(
    vlm: Adapter,
    model: str,
    dataset: str,
    n: int,
    evidence: Evidence,
    wanted: Collection[str] = NAMES,
) -> dict[tuple[str, str], pd.DataFrame]:
    """Probes of a model, on ``n`` of a data set's small objects (``ALL``: of any).

    Args:
        vlm: the model.
        model: its key.
        dataset: key.
        n: questions; 0 for all.
        evidence: with the runs ``no-crop``, for what was answered rightly, and
            ``rel-att``, whose crops are shown alone; what needs them is left out if
            they are missing.
        wanted: of ``NAMES``, or ``layer answers``.

    Returns:
        By (model, name), as ``Evidence.probes``.
    """
    samples = crops.small_samples(dataset, n)
    looked = looking.looks(vlm, dataset, samples)
    made = {"layers": looking.layer_table(looked, vlm.crop_px)}
    if set(ALL) & set(wanted):
        every = looking.by_layer(vlm, dataset, datasets.load(dataset, n))
        made |= dict(zip(ALL, (every, every[every["layer"] == vlm.layer]), strict=True))
    if "zoom" in wanted:
        made["zoom"] = probes.zoom(vlm, dataset, samples)
    if {"chosen layer", "layer answers"} & set(wanted):
        said = probes.answered(vlm, dataset, looked, probes.layer_crops(vlm))
        made["layer answers"], made["chosen layer"] = said, _chosen(vlm, said)
    plain = evidence.frame(Run(dataset, "no-crop"), model)
    if plain is not None:
        known = looking.with_answers(made["layers"], plain)
        made["map's layer"] = known[known["layer"] == vlm.layer]
    cropped = evidence.frame(Run(dataset, "rel-att"), model)
    if "crop alone" in wanted and cropped is not None:
        made["crop alone"] = probes.alone(vlm, dataset, samples, cropped)
    return {(model, name): made[name] for name in wanted if name in made}


def _chosen(vlm: Adapter, said: pd.DataFrame) -> pd.DataFrame:
    """Of all layers' answers those of the map's layer and of the mean of all."""
    own = probes.layer_name(vlm.layer)
    kept = said[said["name"].isin([own, crops.ALL])]
    return kept.replace({"name": {own: crops.ONE}})


def cost(measured: costs.Measured, model: str) -> dict[tuple[str, str], pd.DataFrame]:
    """What rel-att costs a model beside a plain answer, in answer tokens' time."""
    frame = costs.methods(measured)
    mine = frame[frame["model"] == model].set_index("method")
    if not {"no-crop", "rel-att"} <= set(mine.index):
        return {}
    token = mine["answer_token_seconds"]["rel-att"]
    rows = [
        (what, seconds / token)
        for what, method in {"plain": "no-crop", "map": "rel-att"}.items()
        for seconds in np.asarray(mine["seconds"][method], float)
    ]
    table = pd.DataFrame(rows, columns=["what", "tokens"])
    return {(model, "cost"): table}


def measured(
    models: Sequence[str],
    dataset: str,
    n: int,
    bench: costs.Measured | None = None,
    wanted: Collection[str] = NAMES,
    device: str = "cpu",
    dtype: str = "float32",
) -> Evidence:
    """Finished runs, and the probes of some models.

    Args:
        models: keys, to be loaded.
        dataset: key, with ground-truth boxes.
        n: questions of a probe; 0 for all about small objects.
        bench: measured costs, if any.
        wanted: see ``probe``.
        device: of the models.
        dtype: of the models.
    """
    runs = Evidence()
    found: dict[tuple[str, str], pd.DataFrame] = {}
    for model in models:
        vlm = adapters.load(model, device=device, dtype=dtype)
        found |= probe(vlm, model, dataset, n, runs, wanted)
        found |= cost(bench, model) if bench is not None else {}
    return Evidence(found)
