"""What is already where a data set goes, and whether it may give way."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_prep.originals import Originals


def check_sources(originals: Originals, out: Path) -> None:
    """Refuse originals that lie where the data set goes: they would give way to it."""
    for folder in originals.folders:
        if folder.resolve().is_relative_to(out.resolve()):
            raise ValueError(
                f"source {folder} lies in {out}, where the data set goes; move it away"
            )


def _noted(out: Path) -> dict[str, Any]:
    """What the ``prep.json`` of a folder says; nothing, if it is torn."""
    try:
        found = json.loads((out / "prep.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def found(out: Path, note: Mapping[str, Any]) -> dict[str, Any] | None:
    """What ``prep.json`` says, if the folder is whole and what would be made."""
    noted = _noted(out)
    wanted = all(noted.get(key) == note[key] for key in note)
    return noted if wanted and _is_whole(out, noted) else None


def _is_whole(out: Path, found: Mapping[str, Any]) -> bool:
    data, images = digest(out / "data.json"), stock(out / "images")
    return found.get("data_sha256") == data and found.get("stock") == images


def check_place(out: Path, note: Mapping[str, Any], replace: bool) -> None:
    """Refuse to take the place of a folder unasked, and ever of one made elsewhere."""
    if not out.exists():
        return
    if not (out / "prep.json").is_file():
        raise ValueError(
            f"{out} is there already, and not made by `vicrop prep` (no prep.json in "
            "it); move it away"
        )
    if not replace:
        found = _noted(out)
        changed = [key for key in note if found.get(key) != note[key]]
        why = f"other {', '.join(changed)}" if changed else "changes made since"
        raise ValueError(
            f"{out} is there already, with {why}; add --replace to make it anew, or "
            "keep it under another name"
        )


def stock(folder: Path) -> dict[str, int]:
    """How many files there are, and bytes: quickly told, unlike their sums."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return {"files": len(sizes), "bytes": sum(sizes)}


def digest(file: Path) -> str:
    """SHA-256 of a file; "" if it is not there."""
    if not file.is_file():
        return ""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
