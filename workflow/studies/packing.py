"""What `make studies` does in the end: a model's runs, packed into the repository."""

import datetime
import hashlib
import io
import json
import platform
import re
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from vicrop import paths
from vicrop.run import checks, jsonl, provenance
from vicrop.run.folder import META, RECORDS, RunFolder
from workflow import matrix, plans
from workflow.studies import LIST, SIZE, home, listed, weights_of

LARGEST = 5_000_000
"""Bytes of all archives together."""
KEPT = (
    *("config", "identity", "layer", "versions", "python", "machine", "asked"),
    *("answered", "seconds", "passes", "tokens", "image_tokens", "errors", "finished"),
    "records",
)
"""What of ``meta.json`` is packed; not where a run was made, nor what befell it."""


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
        "weights": weights_of(model),
        "runs": len(metas),
        **{key: round(sum(meta[key] for meta in metas), 1) for key in sums},
        "date": datetime.date.today().isoformat(),
        "commit": _commit(),
        "cpu": _cpu(),
        "python": metas[0]["python"],
        "versions": metas[0]["versions"],
    }


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
    try:
        configs = matrix.chosen(file, size)[0]
        for name in dict.fromkeys(config.model for config in configs):
            if model in ("", name):
                own = [RunFolder.of(one) for one in configs if one.model == name]
                pack(name, own)
                typer.echo(f"{name}: {len(own)} runs packed")
    except (OSError, ValueError) as error:
        plans.stop(f"make studies: {error}")


if __name__ == "__main__":
    typer.run(main)
