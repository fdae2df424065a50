"""A plan as it is written down: the workflow's jobs.

Apart from ``plans``, which makes it: a job that reads its part needs no torch.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from vicrop import paths
from vicrop.run import jsonl
from vicrop.run.records import RunConfig


class Group(BaseModel):
    """Runs that differ in their method only: made together, in so many shards.

    Attributes:
        configs: the runs'.
        shards: parts of each.
        arguments: what `vicrop run` and `vicrop merge` are told.
        how: what `vicrop run` alone is told.
        inputs: files that the runs' records depend on: their data, and weights that
            are this package's.
        runs: their ids.
        gpu: GPUs that a job needs.
        memory_mb: main memory that a job needs.
        minutes: that a shard is expected to take, with room; None if nobody knows.
    """

    model_config = ConfigDict(frozen=True)

    configs: list[RunConfig]
    shards: int
    arguments: str
    how: str
    inputs: list[str]
    runs: list[str]
    gpu: int
    memory_mb: int
    minutes: int | None


class Plan(BaseModel):
    """A size of the matrix as jobs.

    Attributes:
        size: its name.
        groups: of runs, by name.
        pages: notebooks that read the records.
    """

    model_config = ConfigDict(frozen=True)

    size: str
    groups: dict[str, Group]
    pages: list[str]

    @property
    def configs(self) -> list[RunConfig]:
        """All runs'."""
        return [config for group in self.groups.values() for config in group.configs]


def file_of(size: str) -> Path:
    """Where a plan is written."""
    return paths.results() / "plans" / f"{size}.json"


def read(size: str) -> Plan:
    """A plan that was written.

    Raises:
        FileNotFoundError: naming the command that writes it.
    """
    file = file_of(size)
    if not file.exists():
        raise FileNotFoundError(
            f"no plan in {file}; write it with `python -m workflow.plans --size {size}`"
        )
    return Plan.model_validate_json(file.read_text(encoding="utf-8"))


def write(plan: Plan) -> Path:
    """Write a plan, if it is another than before: jobs depend on it."""
    file = file_of(plan.size)
    value: dict[str, Any] = plan.model_dump(mode="json")
    if not file.exists() or Plan.model_validate_json(file.read_bytes()) != plan:
        file.parent.mkdir(parents=True, exist_ok=True)
        jsonl.replace_json(file, value)
    return file
