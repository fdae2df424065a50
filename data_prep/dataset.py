"""What a data set is to ``vicrop prep``: where it is published, how its files lie."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from huggingface_hub import constants

from data_prep.originals.files import Entry
from data_prep.originals.parquet import pictured_rows
from data_prep.originals.rows import Row, json_rows
from data_prep.originals.search import Originals
from vicrop.types import Region


@dataclass(frozen=True)
class Remote:
    """A file of the original release, and where it is published.

    Attributes:
        store: folder under ``originals/``; data sets may share one.
        url: http or https address; its last part names the file.
        gigabytes: about how many; None: unknown.
        sha256: its sum in hexadecimal, where known.
    """

    store: str
    url: str
    gigabytes: float | None = None
    sha256: str | None = None

    @property
    def name(self) -> str:
        """Name of the file under the download folder."""
        return unquote(urlsplit(self.url).path.rpartition("/")[2])


@dataclass(frozen=True)
class Hub:
    """Files of a data set repository on the hub; they keep their paths in it.

    Attributes:
        store: folder under ``originals/``.
        name: of its owner and its own, ``"lmms-lab/textvqa"``.
        patterns: which files, ``("data/validation-*.parquet",)``.
        gigabytes: about how many; None: unknown.
    """

    store: str
    name: str
    patterns: tuple[str, ...]
    gigabytes: float | None = None

    @property
    def url(self) -> str:
        """Where a reader finds it."""
        return f"{constants.ENDPOINT}/datasets/{self.name}"


COCO = "http://images.cocodataset.org/zips"
"""Where pictures are that several data sets ask about."""


@dataclass(frozen=True, slots=True)
class Item:
    """One question in the unified format, and where its picture is.

    Attributes:
        where: file and row, for errors.
        key: what makes the question one of a kind in the original.
        question: as it is asked.
        labels: as the metric wants them.
        picture: its entry, or a path to be looked up among the originals.
        image: its name under ``images/``; without a suffix, its format gives one.
        short_question: asked for the map.
        boxes: (left, top, right, bottom), pixels.
        options: of a multiple choice.
        meta: what else is worth keeping, such as ``category``.
    """

    where: str
    key: str
    question: str
    labels: Sequence[str]
    picture: Entry | str
    image: str
    short_question: str | None = None
    boxes: Sequence[Region] = ()
    options: Sequence[str] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """One way in which the original files lie.

    Attributes:
        name: what it goes by.
        files: patterns (see ``Originals.matching``); all must be there.
        read: makes the items, in the original's order; the seed is for shuffling.
    """

    name: str
    files: tuple[str, ...]
    read: Callable[[Originals, int], list[Item]]

    def is_in(self, originals: Originals) -> bool:
        """Whether these originals lie in this way."""
        return all(originals.matching(pattern) for pattern in self.files)


ItemOf = Callable[[Row, Entry | None], Item]
"""What a row asks; with the picture that is in the row, if there is one."""


def in_json(name: str, file: str, item: ItemOf, key: str | None = None) -> Layout:
    """A published list in JSON (see ``json_rows``), pictures in files of their own."""

    def read(originals: Originals, seed: int) -> list[Item]:
        return [item(row, None) for row in json_rows(originals.need(file), key)]

    return Layout(name, (file,), read)


def in_parquet(
    name: str, files: tuple[str, ...], item: ItemOf, columns: Sequence[str]
) -> Layout:
    """Tables of a mirror, one after another, with a picture in every row."""

    def read(originals: Originals, seed: int) -> list[Item]:
        found = [file for pattern in files for file in originals.need_all(pattern)]
        return [item(row, cell) for row, cell in pictured_rows(found, columns)]

    return Layout(name, files, read)


@dataclass(frozen=True)
class DataSet:
    """A data set's facts.

    Attributes:
        key: as in ``vicrop.run.datasets.MAKERS``.
        title: its name and split.
        questions: published number; None where none is known.
        images: published number.
        licence: of questions and pictures, as far as it is known.
        layouts: tried in this order.
        files: what is fetched.
        pictures: a zip of which only the pictures that are asked about are fetched;
            its gigabytes are theirs.
        mirror: parquet files on the hub, a second source.
        by_hand: for what cannot be fetched: which files to get, where from.
        note: a count that differs from the paper's, and why.
        limit: questions by default; 0 for all.
    """

    key: str
    title: str
    questions: int | None
    images: int | None
    licence: str
    layouts: tuple[Layout, ...]
    files: tuple[Remote | Hub, ...] = ()
    pictures: Remote | None = None
    mirror: tuple[Hub, ...] = ()
    by_hand: str = ""
    note: str = ""
    limit: int = 0

    def layout_of(self, originals: Originals) -> Layout:
        """The first layout that is there.

        Raises:
            FileNotFoundError: if none is, with the files of each.
        """
        for layout in self.layouts:
            if layout.is_in(originals):
                return layout
        known = "; or ".join(
            f"{layout.name}: {', '.join(layout.files)}" for layout in self.layouts
        )
        raise FileNotFoundError(
            f"{originals} holds no original files of {self.key}, which are ({known})"
        )

    def items(self, originals: Originals, seed: int = 0) -> list[Item]:
        """All questions of the original files, none of them twice.

        Raises:
            ValueError: naming file, row and field of what is wrong.
            FileNotFoundError: if the files of no layout are there.
        """
        layout = self.layout_of(originals)
        items = layout.read(originals, seed)
        if not items:
            raise ValueError(
                f"{originals} holds no question of {self.key} (layout: {layout.name}); "
                "fetch its files again"
            )
        seen: dict[str, str] = {}
        for item in items:
            if item.key in seen:
                raise ValueError(
                    f"{item.where}: question {item.key!r} is also {seen[item.key]}; is "
                    "a file joined to itself? fetch it again"
                )
            seen[item.key] = item.where
        return items
