"""Rows of original files: JSON, JSON lines, TSV and parquet; and cells with pictures.

Every row comes with its place, so that an error can name file and row.
"""

import base64
import binascii
import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pyarrow
import pyarrow.parquet
from pydantic import BaseModel, ConfigDict, ValidationError

from data_prep.containers import Entry

BATCH = 64
"""Rows of pictures in memory at a time."""


class Row(NamedTuple):
    """A row as it is in the file, and where that is."""

    where: str
    values: Any


class Original(BaseModel):
    """A row of an original file: the fields that are read, all else ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


T = TypeVar("T", bound=Original)


def checked(kind: type[T], row: Row) -> T:
    """A row in its data set's schema.

    Raises:
        ValueError: naming file, row and field of the first fault.
    """
    try:
        return kind.model_validate(row.values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "(the row itself)"
        reason = first["msg"].removeprefix("Value error, ")
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


def load_json(entry: Entry) -> Any:
    """A file of one JSON value.

    Raises:
        ValueError: if it is torn.
    """
    try:
        return json.loads(text(entry))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{entry.where} is not whole JSON ({error}); a torn download? fetch it "
            "again"
        ) from None


def json_rows(entry: Entry, key: str | None = None) -> list[Row]:
    """Rows of a JSON list, or of the list that an object has under a key.

    Raises:
        ValueError: for another structure.
    """
    found = load_json(entry)
    if key is not None:
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, list) or not found:
        place = f"a list under {key!r}" if key else "a list"
        raise ValueError(f"{entry.where} must hold {place}, with rows; is it the file?")
    return [Row(f"{entry.where} row {n}", values) for n, values in enumerate(found)]


def json_items(entry: Entry) -> list[tuple[str, Row]]:
    """Rows of a JSON object, each with its key, in the file's order.

    Raises:
        ValueError: for another structure.
    """
    found = load_json(entry)
    if not isinstance(found, dict) or not found:
        raise ValueError(f"{entry.where} must hold an object of questions by their id")
    return [(key, Row(f"{entry.where} row {key}", row)) for key, row in found.items()]


def json_lines(entry: Entry) -> list[Row]:
    """Rows of a file with one JSON value a line; empty lines left out.

    Raises:
        ValueError: naming the line that is torn.
    """
    rows = []
    for number, line in enumerate(text(entry).splitlines()):
        if not line.strip():
            continue
        try:
            rows.append(Row(f"{entry.where} row {number}", json.loads(line)))
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{entry.where} row {number} is not whole JSON ({error}); a torn "
                "download? fetch it again"
            ) from None
    return rows


def parquet_rows(entries: Sequence[Entry], columns: Sequence[str]) -> list[Row]:
    """Rows of a table in one or more parquet files, without its pictures.

    Args:
        entries: the files, in order.
        columns: those that are read.

    Raises:
        ValueError: for a torn file, or one without these columns.
    """
    rows = []
    for entry in entries:
        with _parquet(entry) as table:
            missing = set(columns) - set(table.schema_arrow.names)
            if missing:
                raise ValueError(
                    f"{entry.where} has no column {', '.join(sorted(missing))}; it has "
                    f"{', '.join(table.schema_arrow.names)}"
                )
            values = table.read(list(columns)).to_pylist()
        rows += [Row(f"{entry.where} row {n}", value) for n, value in enumerate(values)]
    return rows


@contextmanager
def _parquet(entry: Entry) -> Iterator[pyarrow.parquet.ParquetFile]:
    source = entry.key if isinstance(entry.key, Path) else io.BytesIO(entry.bytes())
    try:
        with pyarrow.parquet.ParquetFile(source) as table:
            yield table
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise ValueError(
            f"{entry.where} is not a whole parquet file ({error}); a torn download? "
            "fetch it again"
        ) from error


class ParquetCells:
    """Pictures in a column of a parquet file; keys are row numbers."""

    def __init__(self, entry: Entry, column: str):
        self.entry, self.column = entry, column
        self.path = entry.container.path

    @classmethod
    def of(cls, entries: Sequence[Entry], column: str) -> list[Entry]:
        """An entry for the picture of every row of these files."""
        found = []
        for entry in entries:
            cells = cls(entry, column)
            with _parquet(entry) as table:
                count = table.metadata.num_rows
            name = f"{entry.name}:{column}"
            found += [Entry(cells, n, f"{name} row {n}") for n in range(count)]
        return found

    def read(self, keys: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """See ``Container``: batch by batch, so that memory stays small."""
        wanted, number = set(keys), 0
        with _parquet(self.entry) as table:
            for batch in table.iter_batches(BATCH, columns=[self.column]):
                for value in batch.column(0):
                    if number in wanted:
                        yield number, self._bytes(value.as_py(), number)
                    number += 1

    def _bytes(self, value: Any, number: int) -> bytes:
        """A cell is the picture's bytes, base64 text, or a struct with its bytes."""
        if isinstance(value, dict):
            value = value.get("bytes")
        where = f"{self.entry.where} row {number} field {self.column}"
        if isinstance(value, str):
            return unbase64(value, where)
        if not value:
            raise ValueError(f"{where}: no picture in it (got {str(value)[:80]!r})")
        return value


def tsv_rows(entry: Entry, pictures: Sequence[str] = ()) -> list[Row]:
    """Rows of a TSV file, without the columns that hold pictures.

    Raises:
        ValueError: for a row that is torn.
    """
    rows = []
    for number, row in enumerate(_tsv(entry)):
        if None in row or None in row.values():
            raise ValueError(
                f"{entry.where} row {number} has another number of fields than the "
                "header; a torn download? fetch it again"
            )
        kept = {name: value for name, value in row.items() if name not in pictures}
        rows.append(Row(f"{entry.where} row {number}", kept))
    return rows


def _tsv(entry: Entry) -> Iterator[dict[str, str]]:
    csv.field_size_limit(sys.maxsize)  # a picture is one field
    if isinstance(entry.key, Path):
        with entry.key.open(encoding="utf-8", newline="") as file:
            yield from _utf8(csv.DictReader(file, delimiter="\t"), entry)
    else:
        yield from csv.DictReader(io.StringIO(text(entry), newline=""), delimiter="\t")


def _utf8(rows: Iterator[dict], entry: Entry) -> Iterator[dict]:
    try:
        yield from rows
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{entry.where} is not UTF-8 text ({error.reason}); fetch it again"
        ) from None


class TsvCells:
    """Pictures as base64 text in a column of a TSV file; keys are row numbers."""

    def __init__(self, entry: Entry, column: str):
        self.entry, self.column = entry, column
        self.path = entry.container.path

    def read(self, keys: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """See ``Container``."""
        wanted = set(keys)
        for number, row in enumerate(_tsv(self.entry)):
            if number in wanted:
                where = f"{self.entry.where} row {number} field {self.column}"
                yield number, unbase64(row[self.column], where)


def unbase64(value: str, where: str) -> bytes:
    """The bytes that base64 text stands for.

    Raises:
        ValueError: if it is none.
    """
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{where}: not base64 ({error}); a torn download?") from None
