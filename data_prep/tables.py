"""Rows of JSON, JSON lines and TSV files; of parquet files, see ``parquet``."""

import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from data_prep.containers import Entry
from data_prep.parquet import ParquetCells, parquet_columns, parquet_rows
from data_prep.rows import Original, Row, checked, text, unbase64

__all__ = [
    "Original",
    "ParquetCells",
    "Row",
    "TsvCells",
    "checked",
    "json_items",
    "json_lines",
    "json_rows",
    "load_json",
    "parquet_columns",
    "parquet_rows",
    "text",
    "tsv_rows",
    "unbase64",
]


def load_json(entry: Entry) -> Any:
    """A file of one JSON value.

    Raises:
        ValueError: if it is torn, or an object in it has a key twice.
    """
    return _parsed(text(entry), entry.where)


def _parsed(value: str, where: str) -> Any:
    try:
        return json.loads(value, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{where} is not whole JSON ({error}); a torn download? fetch it again"
        ) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The dictionary of an object; Python would drop all but a key's last value."""
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = next(key for key, n in Counter(k for k, _ in pairs).items() if n > 1)
        raise ValueError(f"key {twice[:80]!r} is there twice")
    return made


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
        ValueError: naming the line that is torn.
    """
    where = entry.where
    # Not splitlines: it also splits at separators that may stand in a text.
    return [
        Row(f"{where} row {number}", _parsed(line, f"{where} row {number}"))
        for number, line in enumerate(text(entry).split("\n"))
        if line.strip()
    ]


def tsv_rows(entry: Entry, pictures: Sequence[str] = ()) -> list[Row]:
    """Rows of a TSV file, without the columns that hold pictures.

    Raises:
        ValueError: for a row that is torn.
    """
    return [
        Row(where, {name: value for name, value in row.items() if name not in pictures})
        for where, row in _tsv(entry)
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
