"""What there is to judge a claim by: finished runs, and what pages measured."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from analysis import costs, crops, looking, probes, words
from vicrop import adapters
from vicrop.run import results, scores
from vicrop.run.folder import RunFolder
from vicrop.run.records import RunConfig
from workflow import tables

EMBEDDED, GPU = SIZES = ("toy", "real")
"""The sizes of a model: in this repository, or not."""


@dataclass(frozen=True)
class Answers:
    """The answers of a run, or some of them.

    Attributes:
        dataset: key.
        method: key.
        model: key, where it is not the one that is judged.
        group: of object size; empty for all.
        kind: that the samples' ``meta`` have as ``category``; empty for all.
    """

    dataset: str
    method: str
    model: str = ""
    group: str = ""
    kind: str = ""

    def chosen(self, table: pd.DataFrame) -> pd.DataFrame:
        """Of a run's table these, without what its official mean leaves out."""
        table = scores.counted(table, self.dataset)
        if self.group:
            table = table[table["group"] == self.group]
        if self.kind:
            kinds = table["meta"].map(lambda meta: meta.get("category"))
            table = table[kinds == self.kind]
        return table


Need = Answers | str
"""A table to measure on: answers of a run, or a probe by its name (``_probed``)."""


def size_of(model: str) -> str:
    """``EMBEDDED`` if the weights are in this repository, else ``GPU``."""
    spec = adapters.MODELS.get(model)
    return EMBEDDED if spec is not None and spec.folder is not None else GPU


def family_of(model: str) -> str:
    """A model's family; empty for one without a key."""
    spec = adapters.MODELS.get(model)
    return "" if spec is None else spec.family


@dataclass(frozen=True)
class Evidence:
    """Finished runs, and probes.

    Attributes:
        probes: tables that were measured beside the runs, by (model, name).
    """

    probes: Mapping[tuple[str, str], pd.DataFrame] = field(default_factory=dict)
    _tables: dict[str, pd.DataFrame] = field(default_factory=dict, init=False)

    @cached_property
    def runs(self) -> dict[tuple[str, str, str], RunFolder]:
        """By model, method and data set: the run over most samples."""
        made = [(RunConfig(**run.meta()["config"]), run) for run in tables.find()]
        made.sort(key=lambda one: -(one[0].limit or sys.maxsize))
        found: dict[tuple[str, str, str], RunFolder] = {}
        for config, run in reversed(made):  # of equals the first stays
            if config.layer is None and tables.label(config) == config.method:
                found[config.model, config.method, config.dataset] = run
        return found

    def folder(self, need: Answers, model: str) -> RunFolder | None:
        """A run's folder, if it is finished."""
        return self.runs.get((need.model or model, need.method, need.dataset))

    def frame(self, need: Need, model: str) -> pd.DataFrame | None:
        """A table to measure on, if it is there; of a run, its scored samples."""
        if isinstance(need, str):
            return self.probes.get((model, need))
        rows = self.rows(need, model)
        return None if rows is None else rows.dropna(subset=["score"])

    def rows(self, need: Answers, model: str) -> pd.DataFrame | None:
        """A run's records, if it is there, failed samples among them."""
        run = self.folder(need, model)
        if run is None:
            return None
        if run.name not in self._tables:
            self._tables[run.name] = results.table(run)
        return need.chosen(self._tables[run.name])


def gathered(
    models: Sequence[str],
    bench: costs.Measured,
    dataset: str = "plates",
    n: int = 0,
    **how: str,
) -> Evidence:
    """Finished runs, and the probes of some models that the claims need.

    Args:
        models: keys.
        bench: measured costs, of models that it has.
        dataset: of the probes, which are left out where they need a missing run.
        n: small questions of a probe; 0 for all.
        how: see ``probes.of``.
    """
    runs, found = Evidence(), {}
    for model in models:
        one = probes.of(model, dataset, n, **how)
        plain, cropped = (
            runs.frame(Answers(dataset, method), model)
            for method in ("no-crop", "rel-att")
        )
        for name, table in _probed(one, plain, cropped).items():
            found[model, name] = table
        spent = costs.methods(bench).query("model == @model")
        if {"no-crop", "rel-att"} <= set(spent["method"]):
            found[model, "cost"] = spent
    return Evidence(found)


def _probed(
    one: probes.Probes, plain: pd.DataFrame | None, cropped: pd.DataFrame | None
) -> dict[str, pd.DataFrame]:
    """A model's probes by what readings call them; of small objects, or all sizes."""
    layer, pairs = one.about["layer"], one.table("pairs")
    layers, said = one.table("layers"), one.table("layer answers")
    found = {
        "layers": layers,
        "layers, all sizes": pairs,
        "map's layer, all sizes": pairs[pairs["pair"] == one.about["chosen_pair"]],
        "chosen layer": said.replace({probes.layer_name(layer): crops.ONE}),
        "zoom": one.table("zoom"),
        "words": words.of_map(one.table("maps"), "word-att"),
    }
    if plain is not None:
        at = looking.with_answers(layers, plain)
        found["map's layer"] = at[at["layer"] == layer]
    if cropped is not None:
        found["crop alone"] = one.table("alone")
    return found
