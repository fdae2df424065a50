"""A row of an original file, and how it is checked.

Every row comes with its place, so that an error can name file and row.
"""

import base64
import binascii
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from data_prep.containers import Entry


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
