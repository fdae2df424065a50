"""Rows of parquet files, and the pictures in their cells."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from data_prep.originals.archives import Refused, check_bomb
from data_prep.originals.files import Entry
from data_prep.originals.rows import Original, Row, unbase64

BATCH = 256
"""Rows without pictures in memory at a time."""

PICTURES = 16
"""Pictures in memory at a time; one of 8K takes some 15 MB."""

MAX_ROWS = 10_000_000
"""Of a parquet file: a few bytes can claim, and repeat a value for, any number."""

MAX_TABLE = 1 << 29
"""Bytes of a parquet file's rows without pictures; VQAv2's take a fifth of it."""


def parquet_rows(entries: Sequence[Entry], columns: Sequence[str]) -> list[Row]:
    """Rows of a table in parquet files, of which only these columns are read.

    Raises:
        ValueError: for a torn file, or one without these columns.
    """
    return [
        Row(f"{where} row {number}", values)
        for entry in entries
        for where in [entry.where]
        for number, values in enumerate(_parquet_values(entry, columns))
    ]


def _parquet_values(entry: Entry, columns: Sequence[str]) -> Iterator[dict]:
    size = 0
    with _parquet(entry, columns) as table:
        for batch in table.iter_batches(BATCH, columns=list(columns)):
            size += sum(map(_size, batch.columns))
            if size > MAX_TABLE:
                raise Refused(
                    f"{entry.where} has rows of more than {MAX_TABLE / 1e6:.0f} MB, "
                    "pictures aside; that is no file of this data set"
                )
            yield from batch.to_pylist()


def _size(column: pyarrow.Array) -> int:
    """Bytes of a column, with a value that is repeated counted as often."""
    repeated = pyarrow.types.is_dictionary(column.type)
    return (column.dictionary_decode() if repeated else column).nbytes


@contextmanager
def _parquet(
    entry: Entry, columns: Sequence[str]
) -> Iterator[pyarrow.parquet.ParquetFile]:
    """An open file of which these columns can be read."""
    with entry.open() as file:
        source = entry.key if isinstance(entry.key, Path) else file
        try:
            with pyarrow.parquet.ParquetFile(source, buffer_size=1 << 20) as table:
                _check_table(table, entry.where, columns)
                yield table
        except Refused:
            raise
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"{entry.where} is not a whole parquet file ({reason}); a torn "
                "download? fetch it again"
            ) from error


def _check_table(
    table: pyarrow.parquet.ParquetFile, where: str, columns: Sequence[str]
) -> None:
    known, rows = table.schema_arrow.names, table.metadata.num_rows
    missing = sorted(set(columns) - set(known))
    if missing:
        raise Refused(
            f"{where} has no column {', '.join(missing)}; it has {', '.join(known)}"
        )
    if rows > MAX_ROWS:
        raise Refused(f"{where} claims {rows} rows; that is no file of this data set")
    for number in range(table.metadata.num_row_groups):
        group = table.metadata.row_group(number)
        for n in range(group.num_columns):
            part = group.column(n)
            check_bomb(where, part.total_uncompressed_size, part.total_compressed_size)


def parquet_columns(entry: Entry) -> dict[str, str]:
    """The columns of a parquet file, and of which type they are."""
    with _parquet(entry, ()) as table:
        return {column.name: str(column.type) for column in table.schema_arrow}


def columns(*kinds: type[Original]) -> list[str]:
    """The columns that rows of these kinds are read from."""
    fields = [field for kind in kinds for field in kind.model_fields.items()]
    return list(dict.fromkeys(field.alias or name for name, field in fields))


def pictured_rows(
    entries: Sequence[Entry], columns: Sequence[str], column: str = "image"
) -> list[tuple[Row, Entry]]:
    """Rows of parquet files (see ``parquet_rows``), each with the picture in it."""
    rows = parquet_rows(entries, columns)
    return list(zip(rows, ParquetCells.of(entries, column), strict=True))


class ParquetCells:
    """Pictures in a column of a parquet file; keys are row numbers."""

    def __init__(self, entry: Entry, column: str):
        self.entry, self.column = entry, column
        self.path = entry.container.path

    @classmethod
    def of(cls, entries: Sequence[Entry], column: str) -> list[Entry]:
        """An entry for the picture of every row of these files."""
        return [
            Entry(cells, number, f"{entry.name}:{column} row {number}")
            for entry in entries
            for cells in [cls(entry, column)]
            for number in range(cells.count())
        ]

    def count(self) -> int:
        """How many rows there are."""
        with _parquet(self.entry, [self.column]) as table:
            return table.metadata.num_rows

    def read(self, keys: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """See ``Container``: batch by batch, so that memory stays small."""
        wanted, number = set(keys), 0
        with _parquet(self.entry, [self.column]) as table:
            for batch in table.iter_batches(PICTURES, columns=[self.column]):
                for value in batch.column(0):
                    if number in wanted:
                        yield number, self._bytes(value.as_py(), number)
                    number += 1

    def _bytes(self, value: Any, number: int) -> bytes:
        """A cell is the picture's bytes, base64 text, or a struct with its bytes."""
        if isinstance(value, dict):
            value = value.get("bytes")
        where = f"{self.entry.where} row {number} field {self.column}"
        if not value:
            raise ValueError(f"{where}: no picture in it (got {str(value)[:80]!r})")
        return unbase64(value, where) if isinstance(value, str) else value
