"""What is left to do of a run, and what it has taken."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from vicrop.prompts import Work
from vicrop.run import provenance
from vicrop.run.folder import RunFolder, Writer, writing
from vicrop.run.records import Record, RunConfig, Sample
from vicrop.types import Map

if TYPE_CHECKING:
    from vicrop.adapters.adapter import Adapter

META_SECONDS = 30.0
"""Between two writings of ``meta.json`` while a run goes on."""


@dataclass
class Task:
    """A run that is being made.

    Attributes:
        config: of the run.
        vlm: its model.
        writer: of its records.
        before: its ``meta.json`` when it was opened.
        seconds: spent on it since.
        work: of the language model on it since.
        answered: records made since.
        notes: what happened to it since.
    """

    config: RunConfig
    vlm: "Adapter"
    writer: Writer
    before: dict[str, Any]
    seconds: float = 0.0
    work: Work = Work()
    answered: int = 0
    notes: list[str] = field(default_factory=list)
    _told: float = field(default_factory=time.monotonic)

    @property
    def folder(self) -> RunFolder:
        """Where its records are."""
        return self.writer.run

    def lacks(self, sample: Sample) -> bool:
        """Whether a sample is of this run and has no record yet."""
        return sample.id in self.writer.samples and sample.id not in self.writer.done

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count what the body takes as this run's."""
        started, before = time.perf_counter(), self.vlm.work
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started
            self.work += self.vlm.work - before

    def answer(self, make: Callable[[], tuple[Record, Map | None]]) -> Record:
        """Record one sample."""
        with self.timed():
            record, amap = make()
            self.writer.append(record, amap if self.config.save_maps else None)
        self.answered += 1
        if time.monotonic() - self._told >= META_SECONDS:
            self.write_meta(finished=False)
        return record

    def write_meta(self, finished: bool, **more: Any) -> None:
        """Write down what is worth knowing of the run, and what more is given."""
        self._told = time.monotonic()
        spent = {
            "answered": self.answered,
            "seconds": round(self.seconds, 3),
            **asdict(self.work),
        }
        self.folder.write_meta(
            {
                **self.before,
                **provenance.meta(self.config, self.vlm),
                **{key: self.before.get(key, 0) + n for key, n in spent.items()},
                "notes": [*self.before.get("notes", []), *self.notes],
                "finished": finished,
                **more,
            }
        )

    def finish(self) -> None:
        """Write down that all is there, and what its records are."""
        self.writer.close()
        errors = sum(record.error is not None for record in self.folder.records())
        self.write_meta(finished=True, errors=errors, records=self.folder.seal())


@contextmanager
def opened(
    config: RunConfig,
    vlm: "Adapter",
    weights: str,
    samples: list[Sample],
    again: bool = False,
) -> Iterator[Task]:
    """A run's folder opened for what is left of it; whole once the body has ended.

    Args:
        config: of the run.
        vlm: its model.
        weights: the model's hash.
        samples: that are asked, in their order.
        again: whether failed samples are tried again.

    Raises:
        ValueError: if the folder holds other records, or lacks maps that are wanted.
        RuntimeError: if another process writes to it.
    """
    run = RunFolder.of(config)
    with writing(run, provenance.identity(config, weights), samples, again) as writer:
        task = Task(config, vlm, writer, run.meta())
        _check_maps(task)
        if task.before["finished"]:
            yield task  # nothing is left: what made it stays written down
            return
        task.notes += _changed(task.before)
        try:
            yield task
        except BaseException:
            task.write_meta(finished=False)
            raise
        task.finish()


def _changed(before: dict[str, Any]) -> list[str]:
    """Versions that are not those of the first part of a run, as a note."""
    now, then = provenance.versions(), before.get("versions", {})
    changed = [
        f"{key} {then[key]} → {now[key]}" for key in then if then[key] != now[key]
    ]
    return [f"went on with {', '.join(changed)}"] if changed else []


def _check_maps(task: Task) -> None:
    """Refuse to save maps of some samples only."""
    made = [record for record in task.folder.records() if record.box is not None]
    if task.config.save_maps and made and not task.folder.maps_file.exists():
        raise ValueError(
            f"{task.folder.folder} holds {len(made)} records that were made without "
            "saving maps; delete that folder to make both, or leave out save_maps"
        )
