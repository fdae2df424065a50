"""Long studies, made apart from the build: packed into the repository, and read there.

``make studies`` makes the runs of a size in a folder of their own, then packs them by
``python -m workflow.studies``.
"""

import datetime
import hashlib
import io
import json
import os
import platform
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from filelock import FileLock

from vicrop import paths
from vicrop.adapters import registry
from vicrop.run import checks, jsonl, provenance, results
from vicrop.run.folder import META, RECORDS, RunFolder
from vicrop.run.records import RunConfig
from workflow import matrix, plans

SIZE, LIST = "studies", "studies.json"
LARGEST = 5_000_000
"""Bytes of all archives together."""
KEPT = (
    *("config", "identity", "layer", "versions", "python", "machine", "asked"),
    *("answered", "seconds", "passes", "tokens", "image_tokens", "errors", "finished"),
    "records",
)
"""What of ``meta.json`` is packed; not where a run was made, nor what befell it."""
INSIDE = re.compile(rf"(?P<run>\w[\w.-]*)/({RECORDS}|{META})")
"""What an archive holds: the two files of each run, and nothing beside."""


def home() -> Path:
    """Folder of the archives in the repository."""
    return paths.ROOT / "book" / "studies"


def unpacked_home() -> Path:
    """Folder of what is made of the archives here."""
    return paths.results() / "studies"


def listed() -> dict[str, dict[str, Any]]:
    """What was packed, by model: its archive, and when and with what it was made.

    Raises:
        FileNotFoundError: if nothing was.
    """
    file = home() / LIST
    if not file.exists():
        raise FileNotFoundError(f"no {file}; make the studies: `make studies`")
    return json.loads(file.read_text(encoding="utf-8"))


# Packing.


def pack(model: str, runs: Iterable[RunFolder]) -> None:
    """Put a model's runs into the repository, in place of those of before.

    Args:
        model: key.
        runs: whole ones of it.

    Raises:
        ValueError: for a run that is not as it was made, or not of the model and data
            that are here; or if the archives would become too large.
    """
    packed, metas = _checked(model, sorted(runs, key=lambda run: run.name))
    known = listed() if (home() / LIST).exists() else {}
    known[model] = _entry(model, packed, metas)
    total = sum(one["bytes"] for one in known.values())
    if total > LARGEST:
        raise ValueError(f"the archives take {total:,} bytes, more than {LARGEST:,}")
    home().mkdir(parents=True, exist_ok=True)
    (home() / known[model]["archive"]).write_bytes(packed)
    jsonl.replace_json(home() / LIST, known)


def _checked(model: str, runs: list[RunFolder]) -> tuple[bytes, list[dict[str, Any]]]:
    """Runs that are as they were made, packed, and what is told of each."""
    wrong = [f"{run.name}: {said}" for run in runs for said in checks.verify(run)]
    weights = provenance.weights_hash(provenance.load(runs[0].config()))
    metas = [_meta(run) for run in runs]
    if any(meta["identity"]["weights"] != weights for meta in metas):
        wrong.append(f"{model} here has other weights than those that answered")
    if wrong:
        raise ValueError(f"{model} cannot be packed: {'; '.join(wrong)}")
    files = {f"{run.name}/{RECORDS}": run.records_file.read_bytes() for run in runs}
    for run, meta in zip(runs, metas, strict=True):
        files[f"{run.name}/{META}"] = json.dumps(meta, sort_keys=True).encode()
    return _archive(files), metas


def _meta(run: RunFolder) -> dict[str, Any]:
    """What is packed of a run's ``meta.json``; other runs go by their names."""
    meta = {key: value for key, value in run.meta().items() if key in KEPT}
    for part in (meta["config"], meta["identity"]):
        named = {key: part.get(key) for key in ("gate", "boxes_from")}
        part |= {key: Path(one).name for key, one in named.items() if one}
    return meta


def _archive(files: Mapping[str, bytes]) -> bytes:
    """Files by name, packed: the same bytes every time."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:xz", preset=7) as packed:
        for name, text in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            packed.addfile(entry, io.BytesIO(text))
    return stream.getvalue()


def _entry(model: str, packed: bytes, metas: list[dict[str, Any]]) -> dict[str, Any]:
    """What is told of a model's archive."""
    sums = ("answered", "seconds", "errors")
    return {
        "archive": f"{model}.tar.xz",
        "sha256": hashlib.sha256(packed).hexdigest(),
        "bytes": len(packed),
        "weights": _weights(model),
        "runs": len(metas),
        **{key: round(sum(meta[key] for meta in metas), 1) for key in sums},
        "date": datetime.date.today().isoformat(),
        "commit": _commit(),
        "cpu": _cpu(),
        "python": metas[0]["python"],
        "versions": metas[0]["versions"],
    }


def _weights(model: str) -> list[str]:
    """SHA-256 of the files that a model's weights are in."""
    return [provenance.file_hash(file) for file in registry.find(model).files]


def _commit() -> str:
    """Of this tree; empty where there is no git."""
    if not (paths.ROOT / ".git").exists():  # git would take a folder above for ours
        return ""
    command = "git describe --always --dirty --abbrev=12 --exclude=*".split()
    told = subprocess.run(
        command, cwd=paths.ROOT, capture_output=True, text=True, check=True
    )
    return told.stdout.strip()


def _cpu() -> str:
    """Of this machine, as Linux or Python names it."""
    told = Path("/proc/cpuinfo")
    text = told.read_text(encoding="utf-8") if told.exists() else ""
    named = re.search(r"^model name\s*:\s*(.+)$", text, re.M)
    return named[1] if named else platform.processor() or platform.machine()


def main(
    size: str = SIZE,
    file: Annotated[Path, typer.Option(help="The matrix.")] = plans.MATRIX,
    model: Annotated[str, typer.Option(help="Of this model alone.")] = "",
) -> None:
    """Pack the runs of a size, which must all be whole."""
    runs: dict[str, list[RunFolder]] = {}
    for config in matrix.chosen(file, size)[0]:
        if model in ("", config.model):
            runs.setdefault(config.model, []).append(RunFolder.of(config))
    for name, own in runs.items():
        pack(name, own)
        typer.echo(f"{name}: {len(own)} runs packed")


# Reading.


def unpacked() -> Path:
    """Folder with a folder a run, unpacked once.

    Raises:
        FileNotFoundError: if nothing was packed.
        ValueError: if an archive is not what was packed, or a model here is not the
            one that answered.
    """
    known = listed()
    for model, entry in known.items():
        if _weights(model) != entry["weights"]:
            raise ValueError(
                f"{model} here has other weights than when its studies were made on "
                f"{entry['date']}; make them anew: `make studies MODEL={model}`"
            )
    digests = "".join(entry["sha256"] for entry in known.values())
    place = unpacked_home() / hashlib.sha256(digests.encode()).hexdigest()[:16]
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place.parent / ".lock"):
        if not place.exists():
            _unpack(known.values(), place)
    return place


def _unpack(entries: Iterable[Mapping[str, Any]], place: Path) -> None:
    """All archives into a new folder, which appears only if all of them are sound."""
    with tempfile.TemporaryDirectory(dir=place.parent) as part:
        new = Path(part, "runs")
        new.mkdir()
        for entry in entries:
            file = home() / entry["archive"]
            text = file.read_bytes()
            if hashlib.sha256(text).hexdigest() != entry["sha256"]:
                raise ValueError(
                    f"{file} is not what was packed; restore it, or `make studies`"
                )
            _extract(file, new)
        for folder in new.iterdir():
            _sealed(RunFolder(folder))
        os.replace(new, place)


def _extract(file: Path, place: Path) -> None:
    """The files of an archive, refused if one is not of a run's folder."""
    with tarfile.open(file, "r:xz") as packed:
        for entry in packed:
            inside = INSIDE.fullmatch(entry.name)
            if not (inside and entry.isreg()):
                raise ValueError(f"{file} holds {entry.name!r}, no file of a run")
            (place / inside["run"]).mkdir(exist_ok=True)
            text = packed.extractfile(entry)
            assert text is not None  # of a regular file there is one
            (place / entry.name).write_bytes(text.read())


def _sealed(run: RunFolder) -> RunFolder:
    """A run, if its records are those that were made."""
    for fault in checks.of_file(run):
        raise ValueError(f"{run.folder}: {fault}; `make clean`, or `make studies`")
    return run


def table(model: str, method: str, dataset: str, **changes: Any) -> pd.DataFrame:
    """A run's table, as ``vicrop.run.results.load`` gives it.

    Args:
        model: key.
        method: key.
        dataset: key.
        **changes: what else of its ``RunConfig`` is not the default; a ``gate`` is the
            name of the run that it was calibrated on.

    Raises:
        FileNotFoundError: if there is none, or nothing was packed.
        ValueError: as ``unpacked``.
    """
    config = RunConfig(model=model, method=method, dataset=dataset, **changes)
    run = RunFolder(unpacked() / config.run_id)
    if not run.folder.exists():
        raise FileNotFoundError(
            f"no run {run.name} among the studies; what size {SIZE} of "
            "workflow/matrix.yaml has is there after `make studies`"
        )
    return results.table(_sealed(run))


def tables(model: str, dataset: str) -> dict[str, pd.DataFrame]:
    """A model's runs over a data set, by ``results.label``; controls after maps."""
    found = {}
    runs = [RunFolder(folder) for folder in sorted(unpacked().iterdir())]
    for run in sorted(runs, key=lambda run: results.ORDER.index(run.config().method)):
        config, name = run.config(), results.label(run.config())
        if (config.model, config.dataset) == (model, dataset):
            found[run.name if name in found else name] = results.table(_sealed(run))
    return found


def overview() -> pd.DataFrame:
    """A row a model: what was packed of it, when, and with what."""
    rows = [
        {"model": model, **entry, **entry["versions"]}
        for model, entry in listed().items()
    ]
    return pd.DataFrame(rows).drop(columns=["archive", "sha256", "weights", "versions"])


def contents() -> pd.DataFrame:
    """Answers by what was run (rows) and data set (columns), of all models together."""
    runs = [RunFolder(folder) for folder in sorted(unpacked().iterdir())]
    told = [(run.config(), run.meta()["answered"]) for run in runs]
    rows = [(results.label(one), one.dataset, answers) for one, answers in told]
    frame = pd.DataFrame(rows, columns=["run", "dataset", "answers"])
    return frame.pivot_table("answers", "run", "dataset", aggfunc="sum", fill_value=0)


if __name__ == "__main__":
    typer.run(main)
