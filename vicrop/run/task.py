"""What is left to do of a run, and what it has taken."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from vicrop.methods import HIGH, MAPS
from vicrop.run import jsonl, provenance
from vicrop.run.folder import RECORDS, RunFolder, Writer, writing
from vicrop.run.records import Record, RunConfig, Sample
from vicrop.types import Map, Work

if TYPE_CHECKING:
    from vicrop.adapters.adapter import Adapter

META_SECONDS = 30.0
"""Between two writings of ``meta.json`` while a run goes on."""
KEPT = 200
"""Samples of a run whose maps are kept in any case, for its page to show some."""


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
            kept = self.config.save_maps or len(self.writer.done) < KEPT
            self.writer.append(record, amap if kept else None)
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
        ValueError: if the folder holds records of something else.
        Refused: if another process writes to it.
    """
    run = RunFolder.of(config)
    with writing(run, provenance.identity(config, weights), samples, again) as writer:
        task = Task(config, vlm, writer, run.meta())
        if task.before["finished"]:
            yield task  # nothing is left: what made it stays written down
            return
        task.notes += _changed(task.before, config.device)
        try:
            yield task
        except BaseException:
            task.write_meta(finished=False)
            raise
        task.finish()


def _changed(before: dict[str, Any], device: str) -> list[str]:
    """Versions and device that are not those of a run's first part, as a note."""
    now = provenance.versions() | {"device": device}
    then = before.get("versions", {}) | {
        "device": before.get("config", {}).get("device", device)
    }
    changed = [
        f"{key} {then[key]} → {now[key]}" for key in then if then[key] != now[key]
    ]
    return [f"went on with {', '.join(changed)}"] if changed else []


def check(config: RunConfig, weights: str | None = None) -> None:
    """Refuse a run whose folder, or that its shards are to be merged into, has others.

    Args:
        config: of the run.
        weights: the model's hash; None before it is loaded.

    Raises:
        ValueError: if there are records of something else, records without the maps
            that are wanted, no run whose boxes could be taken, or none that its gate
            could be calibrated on.
    """
    identity = provenance.identity(config, weights)
    whole = config.model_copy(update={"shard": 0, "shards": 1})
    for one in (config, whole):
        RunFolder.of(one).check_identity(identity)
    _check_maps(config)
    _check_gate(config, identity)
    taken = config.boxes_from and RunFolder(config.boxes_from)
    if taken and not any(line.record and line.record.box for line in taken.lines()):
        raise ValueError(
            f"boxes_from is {config.boxes_from!r}, which holds no {RECORDS} with "
            "boxes; give the folder of a run that crops, as `vicrop run` prints it"
        )


BESIDE_GATE = ("dataset", "limit", "seed", "gate_feature", "gate_alpha", "data")
"""What a run and the one that its gate is calibrated on need not share."""


def _check_gate(config: RunConfig, identity: Mapping[str, Any]) -> None:
    """Refuse a gate calibrated on another method, on what it is judged by, or not."""
    if config.gate is None:
        return
    run = RunFolder(config.gate)
    meta = run.meta()
    if not meta.get("finished"):
        raise ValueError(
            f"gate is {config.gate!r}, which holds no finished run to calibrate on; "
            "give the folder of a run of the same model and method on validation data"
        )
    theirs = meta["config"] | meta["identity"]
    for name, mine in {**identity, "gate": None}.items():
        if name not in BESIDE_GATE and theirs.get(name, mine) != mine:
            raise ValueError(
                f"the gate's run has {name} {theirs[name]!r}, this run {mine!r}; "
                "calibrate with the same"
            )
    if theirs["data"] == identity["data"]:
        raise ValueError(
            f"the gate was calibrated on {config.dataset}, which this run is judged "
            "by; calibrate on other data, such as a validation split"
        )
    run.gate(config.gate_feature, config.gate_alpha)


def _check_maps(config: RunConfig) -> None:
    """Refuse to save maps of some samples only; what crops without one has none."""
    run, of_map = RunFolder.of(config), config.method.removesuffix(HIGH) in MAPS
    if not (config.save_maps and of_map) or config.boxes_from:
        return
    records = (line.record for line in run.lines() if line.record)
    made = sum(record.box is not None for record in records)
    lacking = made - sum(1 for _ in jsonl.split(run.maps_file))
    if lacking > 0:
        raise ValueError(
            f"{run.folder} holds {lacking} records that were made without saving maps; "
            "move that folder away to make both, or leave out save_maps"
        )
