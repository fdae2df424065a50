"""Long studies, made apart from the build and read from their archives here.

``make studies`` makes the runs of a size in a folder of their own, then packs them
(``packing``); every build answers some of them again (``remade``).
"""

import hashlib
import json
import os
import re
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from vicrop import paths
from vicrop.adapters import registry
from vicrop.run import checks, provenance, results
from vicrop.run.folder import META, RECORDS, RunFolder
from vicrop.run.records import RunConfig
from workflow.tables import ORDER, label

SIZE, LIST = "studies", "studies.json"
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


def weights_of(model: str) -> list[str]:
    """SHA-256 of the files that a model's weights are in."""
    return [provenance.file_hash(file) for file in registry.find(model).files]


def unpacked() -> Path:
    """Folder with a folder a run, unpacked once.

    Raises:
        FileNotFoundError: if nothing was packed.
        ValueError: if an archive is not what was packed, or a model here is not the
            one that answered.
    """
    known = listed()
    for model, entry in known.items():
        if weights_of(model) != entry["weights"]:
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
    """A model's runs over a data set, by ``tables.label``; controls after maps."""
    found = {}
    runs = [RunFolder(folder) for folder in sorted(unpacked().glob(f"{model}__*"))]
    for run in sorted(runs, key=lambda run: ORDER.index(run.config().method)):
        config, name = run.config(), label(run.config())
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
    rows = [(label(one), one.dataset, answers) for one, answers in told]
    frame = pd.DataFrame(rows, columns=["run", "dataset", "answers"])
    return frame.pivot_table("answers", "run", "dataset", aggfunc="sum", fill_value=0)
