"""What there is to judge a claim by: finished runs, and what pages measured."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from vicrop import adapters
from vicrop.run import results, scores
from vicrop.run.folder import RunFolder
from vicrop.run.records import RunConfig

EMBEDDED, GPU = "embedded", "gpu"
"""The sizes of a model: in this repository, or not."""


@dataclass(frozen=True)
class Run:
    """A run that a measure needs.

    Attributes:
        dataset: key.
        method: key.
        family: of the model, where it is not the one that is judged.
        group: of object size; empty for all.
        kind: that the samples' ``meta`` have as ``category``; empty for all.
    """

    dataset: str
    method: str
    family: str = ""
    group: str = ""
    kind: str = ""

    def of(self, model: str) -> str:
        """The model whose run it is."""
        return sister(model, self.family) if self.family else model

    def run_id(self, model: str) -> str:
        """The run's folder if it is over all samples."""
        config = RunConfig(
            model=self.of(model), method=self.method, dataset=self.dataset
        )
        return config.run_id


@dataclass(frozen=True)
class Probe:
    """A measurement that a page makes itself (see ``probes``)."""

    name: str


Need = Run | Probe


def size_of(model: str) -> str:
    """``embedded`` if the weights are in this repository, else ``gpu``."""
    spec = adapters.MODELS.get(model)
    return EMBEDDED if spec is not None and spec.folder is not None else GPU


def family_of(model: str) -> str:
    """A model's family; empty for one without a key."""
    spec = adapters.MODELS.get(model)
    return "" if spec is None else spec.family


def sister(model: str, family: str) -> str:
    """The first model of a family that is of the same size.

    Raises:
        ValueError: for an unknown family.
    """
    size = size_of(model)
    for name, spec in adapters.MODELS.items():
        if spec.family == family and size_of(name) == size:
            return name
    raise ValueError(f"no model of family {family!r} is of size {size!r}")


@dataclass(frozen=True)
class Evidence:
    """Finished runs, and probes by (model, name).

    Attributes:
        probes: what was measured beside the runs.
    """

    probes: Mapping[tuple[str, str], pd.DataFrame] = field(default_factory=dict)

    @cached_property
    def _runs(self) -> dict[tuple[str, str, str], RunFolder]:
        """By model, method and data set: the run over most samples."""
        found: dict[tuple[str, str, str], tuple[float, RunFolder]] = {}
        for run in results.find():
            config = RunConfig(**run.meta()["config"])
            if config.layer is not None or results.label(config) != config.method:
                continue
            key = (config.model, config.method, config.dataset)
            count = config.limit or float("inf")
            if key not in found or found[key][0] < count:
                found[key] = count, run
        return {key: run for key, (_, run) in found.items()}

    @cached_property
    def _tables(self) -> dict[str, pd.DataFrame]:
        return {}

    @property
    def models(self) -> list[str]:
        """Models that have a finished run, by name."""
        return sorted({model for model, _, _ in self._runs})

    def folder(self, need: Run, model: str) -> RunFolder | None:
        """A run's folder, if it is finished."""
        return self._runs.get((need.of(model), need.method, need.dataset))

    def frame(self, need: Need, model: str) -> pd.DataFrame | None:
        """What a measure needs, if it is there.

        Of a run the failed samples are left out, and what its official mean leaves out.
        """
        if isinstance(need, Probe):
            return self.probes.get((model, need.name))
        rows = self._rows(need, model)
        return None if rows is None else rows[rows["error"].isna()]

    def failed(self, need: Run, model: str) -> int:
        """How many samples of a run failed, which ``frame`` leaves out."""
        rows = self._rows(need, model)
        return 0 if rows is None else int(rows["error"].notna().sum())

    def _rows(self, need: Run, model: str) -> pd.DataFrame | None:
        run = self.folder(need, model)
        if run is None:
            return None
        if run.name not in self._tables:
            self._tables[run.name] = results.table(run)
        return _chosen(self._tables[run.name], need)

    def frames(self, needs: Iterable[Need], model: str) -> list[pd.DataFrame] | None:
        """All that a measure needs; None if some of it is missing."""
        found = [self.frame(need, model) for need in needs]
        there = [frame for frame in found if frame is not None]
        return there if len(there) == len(found) else None

    def missing(self, needs: Iterable[Need], model: str) -> list[Need]:
        """What of it is not there."""
        return [need for need in needs if self.frame(need, model) is None]


def _chosen(table: pd.DataFrame, need: Run) -> pd.DataFrame:
    rows = table
    flag = scores.LEFT_OUT.get(need.dataset)
    if flag is not None:
        rows = rows[~rows["meta"].map(lambda meta: bool(meta.get(flag)))]
    if need.group:
        rows = rows[rows["group"] == need.group]
    if need.kind:
        kinds = rows["meta"].map(lambda meta: meta.get("category"))
        rows = rows[kinds == need.kind]
    return rows
