"""The folder of a run, or of one shard of it: records, maps, what made them.

A folder has one writer. The file ``.lock`` stays; what counts is the system's lock on
it, so that one left behind by a killed process, on whatever machine, is free.
"""

import hashlib
import json
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from vicrop import paths
from vicrop.gate import Gate
from vicrop.run import jsonl
from vicrop.run.records import Record, RunConfig, Sample, SavedMap
from vicrop.types import Map

RECORDS, MAPS, META = "records.jsonl", "maps.jsonl", "meta.json"
HASHES = ("data", "weights")
"""What of a run's identity is no parameter."""
LOCK, OWNER = ".lock", ".owner.json"
REJECTED = "rejected.jsonl"
"""Lines that were taken out of the records, as they were."""


class Meta(BaseModel):
    """What kinds of values ``meta.json`` has, of those that are read again."""

    config: dict[str, Any] = {}
    identity: dict[str, Any] = {}
    records: dict[str, Any] = {}
    notes: list[str] = []
    asked: int = 0
    answered: int = 0
    seconds: float = 0
    finished: bool = False


class Line(NamedTuple):
    """A line of the records.

    Attributes:
        number: from 1.
        text: as it stands there.
        record: None if it is none.
        fault: what is wrong with it; empty if nothing.
    """

    number: int
    text: str
    record: Record | None
    fault: str


class RunFolder:
    """The folder of one run: ``records.jsonl``, ``meta.json``, perhaps ``maps.jsonl``.

    Shards of a run have folders of the same kind, in its ``shards/``.

    Attributes:
        folder: where it is.
        records_file: one JSON line a sample.
        maps_file: one JSON line a map, of the first samples or of all.
    """

    def __init__(self, folder: str | PathLike):
        self.folder = Path(folder).absolute()  # whose name "." would hide
        self.records_file, self.maps_file = self.folder / RECORDS, self.folder / MAPS

    @classmethod
    def of(cls, config: RunConfig) -> "RunFolder":
        """Where a run's records are, or those of its shard."""
        whole = paths.runs() / config.run_id
        if config.shards == 1:
            return cls(whole)
        return cls(whole / "shards" / f"{config.shard}-of-{config.shards}")

    @property
    def name(self) -> str:
        """The run's id; of a shard, which one as well."""
        if self.folder.parent.name != "shards":
            return self.folder.name
        return f"{self.folder.parents[1].name}, shard {self.folder.name}"

    def records(self) -> Iterator[Record]:
        """All records, in the order in which they were made.

        Raises:
            ValueError: naming file and line of one that cannot be read.
        """
        for line in self.lines():
            if line.record is None:
                raise ValueError(
                    f"{self.records_file} line {line.number} is not a record "
                    f"({line.fault}); run the same again, which makes it anew"
                )
            yield line.record

    def lines(self) -> Iterator[Line]:
        """All lines, readable or not."""
        for number, text in jsonl.split(self.records_file):
            try:
                yield Line(number, text, Record.from_line(text), "")
            except ValidationError as error:
                yield Line(number, text, None, error.errors()[0]["msg"])
            except ValueError as error:
                yield Line(number, text, None, str(error))

    def maps(self) -> dict[str, Map]:
        """The maps that were saved, by sample id; no model is needed for them.

        Raises:
            ValueError: naming file and line of one that cannot be read.
        """
        found = {}
        for number, text in jsonl.split(self.maps_file):
            try:
                saved = SavedMap.from_line(text)
            except ValueError as error:
                reason = " ".join(str(error).split())
                where = f"{self.maps_file} line {number}"
                raise ValueError(f"{where} is not a map ({reason})") from None
            found[saved.id] = saved.map()
        return found

    def gate(self, feature: str, alpha: float) -> Gate:
        """What crops as often as these records say that it should (see ``Gate``).

        Raises:
            ValueError: if a crop repaired too few of them.
        """
        repaired = [
            record.features[feature]
            for record in self.records()
            if (record.plain_score or 0) < 0.5 <= (record.score or 0)
            if feature in record.features
        ]
        return Gate.calibrated(feature, repaired, alpha)

    def meta(self) -> dict[str, Any]:
        """Parameters, versions, hashes and timings; empty if there are none yet.

        Raises:
            ValueError: if the file is torn.
        """
        file = self.folder / META
        try:
            text = file.read_bytes()
            Meta.model_validate_json(text)
            return json.loads(text)
        except FileNotFoundError:
            return {}
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(map(str, fault["loc"])) or "it"
            raise ValueError(
                f"{file} is not as a run writes it ({where}: {fault['msg']}); restore "
                "it, or delete the folder and run again"
            ) from None

    def config(self) -> RunConfig:
        """The parameters that ``meta.json`` tells."""
        meta = self.meta()
        if "config" not in meta:
            raise ValueError(
                f"{self.folder / META} does not say what was run; restore it, or "
                "delete the folder and run again"
            )
        return RunConfig(**meta["config"])

    def write_meta(self, meta: Mapping[str, Any]) -> None:
        """Replace ``meta.json``; a crash leaves the old one."""
        jsonl.replace_json(self.folder / META, meta)

    def seal(self) -> dict[str, int | str]:
        """Count and SHA-256 of the records as they are."""
        text = self.records_file.read_bytes() if self.records_file.exists() else b""
        return {"count": text.count(b"\n"), "sha256": hashlib.sha256(text).hexdigest()}

    def check_identity(self, identity: Mapping[str, Any]) -> None:
        """Refuse to add records to those of something else.

        Args:
            identity: parameters and hashes that the records depend on; what is not
                known yet is left out.

        Raises:
            ValueError: naming what differs, with both values and what to do.
        """
        meta = self.meta()
        known = meta.get("config", {}) | meta.get("identity", {})
        changed = [k for k, v in identity.items() if k in known and known[k] != v]
        if changed:
            pairs = (f"{_typed(k, known)}, not {_typed(k, identity)}" for k in changed)
            raise ValueError(
                f"{self.folder} holds records made with {'; '.join(pairs)}; ask for "
                "the same to go on with them, or move that folder away to begin anew"
            )


def _typed(key: str, values: Mapping[str, Any]) -> str:
    """A parameter as it is typed, or the beginning of a hash."""
    value, flag = values[key], f"--{key.replace('_', '-')}"
    if key in HASHES:
        return f"{key} {value[:12]}"
    return f"no {flag}" if value is None else f"{flag}={value}"


class Refused(RuntimeError):
    """What we cannot mend: another process's folder, no locks, a network or disk."""


@contextmanager
def one_writer(folder: Path) -> Iterator[str | None]:
    """Hold a folder for writing.

    Yields:
        Who held it and ended without letting it go (killed); None if nobody did.

    Raises:
        Refused: if another process holds it, or its file system has no locks.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=1)  # a moment of somebody who only looks is waited for
    except Timeout:
        raise Refused(
            f"{folder} is being written by {owner(folder) or 'another process'}; wait "
            "until it ends, or stop it"
        ) from None
    except NotImplementedError:
        raise Refused(
            f"the file system of {folder} has no locks (flock), so that two writers "
            "could spoil it; let VICROP_RESULTS name a folder on one that has"
        ) from None
    try:
        left = owner(folder)
        jsonl.replace_json(folder / OWNER, _myself())
        yield left
    finally:  # only a process that was killed leaves its name
        (folder / OWNER).unlink(missing_ok=True)
        lock.release()


def owner(folder: Path) -> str | None:
    """Who holds a folder, or held it last and did not let it go."""
    try:
        said = json.loads((folder / OWNER).read_text(encoding="utf-8"))
        return f"process {said['process']} on {said['host']}, since {said['since']}"
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return "an unknown process"


def _myself() -> dict[str, str | int]:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return {"process": os.getpid(), "host": socket.gethostname(), "since": since}


class Writer:
    """Adds records to a run's folder, which it alone may do.

    Attributes:
        run: the folder.
        samples: that are asked, in the order in which records will stand.
        done: ids of those that are recorded.
        notes: what had to be mended.
    """

    def __init__(self, run: RunFolder, samples: Sequence[Sample], again: bool = False):
        self.run, self.samples = run, {sample.id: sample for sample in samples}
        self.notes: list[str] = []
        self._mend(again)
        self._records = jsonl.Appender(run.records_file)
        self._maps: jsonl.Appender | None = None

    def _mend(self, again: bool) -> None:
        """Take out what is no record of these samples; those are asked again."""
        for file in (self.run.records_file, self.run.maps_file):
            cut = jsonl.cut_torn(file)
            if cut:
                self.notes.append(f"{file.name}: a torn last line of {cut} bytes cut")
        found = list(faults(self.run.lines(), self.samples))
        if again:
            found = [_tried(line) for line in found]
        bad = [line for line in found if line.fault]
        good = [line for line in found if not line.fault]
        if bad:
            with (self.run.folder / REJECTED).open("a", encoding="utf-8") as rejected:
                rejected.writelines(line.text for line in bad)
            jsonl.replace(self.run.records_file, (line.text for line in good))
        self.notes += [f"line {n} taken out: {fault}" for n, _, _, fault in bad]
        self.done = {line.record.id for line in good if line.record}

    def append(self, record: Record, amap: Map | None = None) -> None:
        """Add a record, and the map that its box was chosen from.

        Raises:
            OSError: naming the file, if the disk did not take it; what was recorded
                before stays as it is.
        """
        try:
            if amap is not None:
                # First: a map without its record is made again, not the other way.
                self._maps = self._maps or jsonl.Appender(self.run.maps_file)
                self._maps.append(SavedMap.of(record.id, amap).line())
            self._records.append(record.line())
        except OSError as error:
            raise OSError(
                f"{self.run.folder}: sample {record.id} could not be written "
                f"({error.strerror or error}); {len(self.done)} records are kept. Make "
                "room and run the same again"
            ) from error
        self.done.add(record.id)

    def close(self) -> None:
        """See everything onto the disk, the records in their samples' order."""
        self._records.close()
        _sort(self.run.records_file, self.samples)
        if self._maps is not None:
            self._maps.close()
            _sort(self.run.maps_file, self.samples)


def faults(found: Iterable[Line], samples: Mapping[str, Sample]) -> Iterator[Line]:
    """Lines with what is wrong with each, seen beside the others and the samples."""
    seen: dict[str, int] = {}
    for line in found:
        record, fault = line.record, line.fault
        if record is not None:
            asked = samples.get(record.id)
            first = seen.setdefault(record.id, line.number)
            if asked is None:
                fault = f"sample {record.id!r} is not of this run"
            elif (asked.question, asked.labels) != (record.question, record.labels):
                fault = f"sample {record.id!r} has another question or labels here"
            elif first != line.number:
                fault = f"sample {record.id!r} is in line {first} already"
        yield line._replace(fault=fault)


def _tried(line: Line) -> Line:
    """A failed sample's line as one that is to be taken out."""
    failed = line.record is not None and line.record.error is not None
    return line._replace(fault="it failed, and is tried again") if failed else line


def _sort(file: Path, order: Iterable[str]) -> None:
    """Bring lines into the samples' order, the last one of each id."""
    lines = [line for _, line in jsonl.split(file)]
    last = {json.loads(line)["id"]: line for line in lines}
    ordered = [last[name] for name in order if name in last]
    if ordered != lines:
        jsonl.replace(file, ordered)


@contextmanager
def writing(
    run: RunFolder,
    identity: Mapping[str, Any],
    samples: Sequence[Sample],
    again: bool = False,
) -> Iterator[Writer]:
    """Open a run's folder for its records; held by this process alone.

    Lines that are torn, changed, doubled or of something else are moved to
    ``rejected.jsonl``, noted, and their samples asked again.

    Args:
        run: the folder.
        identity: parameters and hashes that the records depend on; kept in
            ``meta.json``.
        samples: that are asked, in the order in which records are to stand.
        again: whether failed samples are tried again.

    Raises:
        ValueError: if the folder holds records of another identity.
        Refused: if another process holds it.
        OSError: if it cannot be written.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    with one_writer(run.folder) as left:
        run.check_identity(identity)
        writer = Writer(run, samples, again)
        if left:
            writer.notes.append(f"taken over from {left}, which did not end by itself")
        before = run.meta()
        known = before.get("notes", [])
        run.write_meta(
            {
                **before,
                "identity": dict(identity),
                "asked": len(samples),
                "finished": before.get("finished", False)
                and len(writer.done) == len(samples),
                "notes": [*known, *writer.notes],
            }
        )
        try:
            yield writer
        finally:
            writer.close()
