"""Rows of JSON, JSON lines and TSV files, and how a row is checked.

Every row comes with its place, so that an error can name file and row.
"""

import base64
import binascii
import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from data_prep.originals.files import Entry
from vicrop.run.datasets import once


class Row(NamedTuple):
    """A row as it is in the file, and where that is."""

    where: str
    values: Any


class Original(BaseModel):
    """A row of an original file: the fields that are read, all else ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


T = TypeVar("T", bound=BaseModel)


def checked(kind: type[T], row: Row) -> T:
    """A row in its schema.

    Raises:
        ValueError: naming file, row and field of the first fault.
    """
    try:
        return kind.model_validate(row.values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "(the row itself)"
        reason = first["msg"].removeprefix("Value error, ")
        if first["type"] == "missing":
            reason = "is missing; is this another split, or another version?"
        raise ValueError(
            f"{row.where} field {field}: {reason} (got {str(first['input'])[:80]!r})"
        ) from None


def text(entry: Entry) -> str:
    """A file as text.

    Raises:
        ValueError: if it is not UTF-8.
    """
    try:
        return entry.bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{entry.where} is not UTF-8 text (byte {error.start}); fetch it again, or "
            "store it as UTF-8"
        ) from None


def unbase64(value: str, where: str) -> bytes:
    """The bytes that base64 text stands for.

    Raises:
        ValueError: if it is none.
    """
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{where}: not base64 ({error}); a torn download?") from None


def load_json(entry: Entry) -> Any:
    """A file of one JSON value.

    Raises:
        ValueError: if it is torn, or an object in it has a key twice.
    """
    return _parsed(text(entry), entry.where)


def _parsed(value: str, where: str) -> Any:
    try:
        return json.loads(value, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{where} is not whole JSON ({error}); a torn download? fetch it again"
        ) from None


def json_rows(entry: Entry, key: str | None = None) -> list[Row]:
    """Rows of a JSON list, or of the list that an object has under a key.

    Raises:
        ValueError: for another structure.
    """
    found, where = load_json(entry), entry.where
    if key is not None:
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, list) or not found:
        place = f"a list under {key!r}" if key else "a list"
        raise ValueError(f"{where} must hold {place}, with rows; is it the file?")
    return [Row(f"{where} row {n}", values) for n, values in enumerate(found)]


def json_items(entry: Entry) -> list[tuple[str, Row]]:
    """Rows of a JSON object, each with its key, in the file's order.

    Raises:
        ValueError: for another structure.
    """
    found, where = load_json(entry), entry.where
    if not isinstance(found, dict) or not found:
        raise ValueError(f"{where} must hold an object of questions by their id")
    return [(key, Row(f"{where} row {key}", row)) for key, row in found.items()]


def json_lines(entry: Entry) -> list[Row]:
    """Rows of a file with one JSON value a line; empty lines left out.

    Raises:
        ValueError: naming the line that is torn, or the file if it has none.
    """
    where = entry.where
    # Not splitlines: it also splits at separators that may stand in a text.
    rows = [
        Row(f"{where} row {number}", _parsed(line, f"{where} row {number}"))
        for number, line in enumerate(text(entry).split("\n"))
        if line.strip()
    ]
    if not rows:
        raise ValueError(f"{where} has no questions; fetch it again")
    return rows


def pictured_tsv(entry: Entry, column: str = "image") -> list[tuple[Row, Entry]]:
    """Rows of a TSV file, each with the picture that a column of it holds.

    Raises:
        ValueError: for a row that is torn.
    """
    cells, name = TsvCells(entry, column), f"{entry.name}:{column}"
    return [
        (
            Row(where, {key: value for key, value in row.items() if key != column}),
            Entry(cells, number, f"{name} row {number}"),
        )
        for number, (where, row) in enumerate(_tsv(entry))
    ]


def _tsv(entry: Entry) -> Iterator[tuple[str, dict[str, str]]]:
    """Every row with its place."""
    csv.field_size_limit(sys.maxsize)  # a picture is one field
    where, number = entry.where, -1
    with entry.open() as file:
        lines = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        try:
            for number, row in enumerate(csv.DictReader(lines, delimiter="\t")):
                _check_fields(row, f"{where} row {number}")
                yield f"{where} row {number}", row
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{where} is not UTF-8 text (after row {number}: {error.reason}); "
                "fetch it again, or store it as UTF-8"
            ) from None
        except csv.Error as error:
            raise ValueError(
                f"{where} is no whole TSV file (after row {number}: {error}); fetch it "
                "again"
            ) from None


def _check_fields(row: dict, where: str) -> None:
    if None in row or None in row.values():
        raise ValueError(
            f"{where} has another number of fields than the header; a torn download? "
            "fetch it again"
        )


class TsvCells:
    """Pictures as base64 text in a column of a TSV file; keys are row numbers."""

    def __init__(self, entry: Entry, column: str):
        self.entry, self.column = entry, column
        self.path = entry.container.path

    def read(self, keys: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """See ``Container``."""
        wanted = set(keys)
        for number, (where, row) in enumerate(_tsv(self.entry)):
            if number in wanted:
                if self.column not in row:
                    raise ValueError(f"{where} has no field {self.column}")
                place = f"{where} field {self.column}"
                yield number, unbase64(row[self.column], place)
