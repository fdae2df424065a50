"""How far runs are, and whether their records are what they were and should be."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from vicrop import paths, scoring
from vicrop.run import datasets, provenance
from vicrop.run.folder import LOCK, META, RunFolder, faults, owner
from vicrop.run.records import Record, RunConfig, Sample


@dataclass(frozen=True)
class Status:
    """One run or shard.

    Attributes:
        name: of it.
        state: ``finished``, ``running``, ``stopped`` or ``broken``.
        done: samples that are recorded.
        failed: those of them that have an error.
        missing: samples without a record; None if nobody knows.
        speed: samples a second; None before the first.
        who: is writing, or was when it was killed.
    """

    name: str
    state: str
    done: int
    failed: int
    missing: int | None
    speed: float | None
    who: str = ""


def folders(root: Path | None = None) -> list[RunFolder]:
    """All runs, and the shards of those that are not merged yet."""
    root = paths.runs() if root is None else root
    wholes = sorted(folder for folder in root.glob("*") if folder.is_dir())
    found = []
    for folder in wholes:
        parts = sorted(folder.glob("shards/*"), key=_number)
        is_whole = (folder / META).exists()
        found += [folder] if is_whole or not parts else parts
    return [RunFolder(folder) for folder in found]


def named(runs: Sequence[Path]) -> list[RunFolder]:
    """Runs by their folders or names; all that have records if none is given.

    Raises:
        FileNotFoundError: if none is given and there is none.
    """
    found = [run for run in folders() if run.records_file.exists()]
    if not (runs or found):
        raise FileNotFoundError(
            f"no runs in {paths.runs()}; make one with `vicrop run`, or let "
            "VICROP_RESULTS name the folder in which there are some"
        )
    return [RunFolder(paths.run(one)) for one in runs] or found


def _number(part: Path) -> tuple[int, ...]:
    return tuple(int(word) for word in part.name.split("-") if word.isdigit())


def status(run: RunFolder) -> Status:
    """How far a run or shard is."""
    try:
        meta = run.meta()
    except ValueError:
        meta = {}
    lines = list(run.lines())
    failed = sum(line.record is not None and bool(line.record.error) for line in lines)
    asked = meta.get("asked")
    spent, made = meta.get("seconds", 0), meta.get("answered", 0)
    state = _state(run, meta)
    return Status(
        name=run.name,
        state=state,
        done=len(lines),
        failed=failed,
        missing=None if asked is None else asked - len(lines),
        speed=made / spent if spent else None,
        who=(owner(run.folder) or "") if state in ("running", "stopped") else "",
    )


def _state(run: RunFolder, meta: dict) -> str:
    if is_held(run.folder):
        return "running"
    if "identity" not in meta:
        return "broken"
    return "finished" if meta.get("finished") else "stopped"


def is_held(folder: Path) -> bool:
    """Whether a process is writing to a folder."""
    if not (folder / LOCK).exists():
        return False
    try:
        with FileLock(folder / LOCK, timeout=0):
            return False
    except Timeout:
        return True


def verify(run: RunFolder, weights: bool = False) -> Iterator[str]:
    """What is wrong with a run, a line each; nothing if all is well.

    Read are ``meta.json``, every record and its checksum, their number and SHA-256,
    the data that they are about, and what the metric gives for each answer.

    Args:
        run: its folder.
        weights: whether the model is loaded and its hash compared.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    if not run.folder.is_dir():
        raise FileNotFoundError(
            f"no folder {run.folder}; runs are in {paths.runs()} (see `vicrop status`)"
        )
    meta = run.meta()
    if not {"config", "identity"} <= meta.keys():
        yield "meta.json does not say what was run; delete the folder and run again"
        return
    config = run.config()
    yield from of_file(run)
    yield from _beside_data(run, config)
    if weights:
        yield from _of_weights(config, meta["identity"].get("weights"))


def of_file(run: RunFolder) -> Iterator[str]:
    """Whether a run ended, and its records are as they were then."""
    meta, now = run.meta(), run.seal()
    if not meta.get("finished"):
        yield "it is not finished; run the same again to go on"
    elif meta.get("records") != now:
        made = meta.get("records", {}).get("count", "?")
        yield (
            f"records.jsonl changed after it was made: {made} lines then, "
            f"{now['count']} now"
        )


def of_lines(run: RunFolder, samples: Iterable[Sample]) -> Iterator[str]:
    """What is wrong with records, line by line, beside the samples that are asked."""
    left = {sample.id: sample for sample in samples}
    for line in faults(run.lines(), dict(left)):
        if line.fault:
            yield f"line {line.number}: {line.fault}"
        elif line.record is not None:
            left.pop(line.record.id)
    if left:
        yield f"{len(left)} samples have no record, such as {next(iter(left))!r}"


def _beside_data(run: RunFolder, config: RunConfig) -> Iterator[str]:
    """What the records say beside the data, if they are here, and their metric."""
    try:
        file = datasets.folder(config.dataset) / "data.json"
        if provenance.file_hash(file) != run.meta()["identity"].get("data"):
            yield f"{config.dataset} here is not the data that were asked about"
            return
        samples = datasets.asked(config)
    except (OSError, ValueError) as error:
        yield f"records were not held against their data: {error}"
        return
    yield from of_lines(run, samples)
    for line in run.lines():
        for fault in _of_scores(line.record, config) if line.record else ():
            yield f"line {line.number}: {fault}"


def _of_scores(record: Record, config: RunConfig) -> Iterator[str]:
    """Scores that are not those of the answers."""
    if (record.error is None) == (record.answer is None):
        yield "it has neither an answer nor an error, or both"
        return
    for text, score in (
        (record.plain, record.plain_score),
        (record.answer, record.score),
    ):
        if text is None:
            continue
        now = scoring.of_answer(config.dataset, text, record.labels, record.question)
        if now != score:
            yield f"{text!r} has the score {score}, but the metric gives {now}"


def _of_weights(config: RunConfig, known: str | None) -> Iterator[str]:
    """Whether the model that is here is the one that answered."""
    if provenance.weights_hash(provenance.load(config)) != known:
        yield f"{config.model} here has other weights than those that answered"
