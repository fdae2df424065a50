"""POPE on COCO: is a thing in the picture? Three files of questions, one a category.

Source: Li et al., 2023 (AoiDragon/POPE).
"""

from typing import Literal

from pydantic import AliasChoices, Field

from data_prep.dataset import COCO, DataSet, Hub, Item, Layout, Remote, in_parquet
from data_prep.originals.fields import Text
from data_prep.originals.files import Entry
from data_prep.originals.rows import Original, Row, checked, json_lines
from data_prep.originals.search import Originals

CATEGORIES = ("adversarial", "popular", "random")


class Question(Original):
    """A line of a published file, or a row of the mirror, whose names are second."""

    question_id: int
    text: Text = Field(validation_alias=AliasChoices("text", "question"))
    label: Literal["yes", "no"] = Field(
        validation_alias=AliasChoices("label", "answer")
    )
    image: Text = Field(validation_alias=AliasChoices("image", "image_source"))


class Mirrored(Original):
    """What only the mirror's rows say."""

    category: Literal["adversarial", "popular", "random"]


def read_lines(originals: Originals, seed: int) -> list[Item]:
    """From the published files, which hold JSON lines for all their name."""
    return [
        _item(row, category)
        for category, name in zip(CATEGORIES, PUBLISHED, strict=True)
        for row in json_lines(originals.need(name))
    ]


def _mirrored(row: Row, cell: Entry | None) -> Item:
    return _item(row, checked(Mirrored, row).category, cell)


def _item(row: Row, category: str, cell: Entry | None = None) -> Item:
    found = checked(Question, row)
    name = found.image.removesuffix(".jpg")
    return Item(
        where=row.where,
        # The numbers start anew in each file.
        key=f"{category} {found.question_id}",
        question=found.text,
        labels=(found.label,),
        picture=cell or f"val2014/{name}.jpg",
        image=name,
        meta={"question_id": found.question_id, "category": category},
    )


PUBLISHED = tuple(f"coco_pope_{category}.json" for category in CATEGORIES)
FULL = tuple(f"{category}-*.parquet" for category in CATEGORIES)
COLUMNS = ("question_id", "question", "answer", "image_source", "category")

REVISION = "08d957b917e5a378a2f99d35b6293c536a66298b"
SITE = f"https://raw.githubusercontent.com/AoiDragon/POPE/{REVISION}/output/coco"

DATASET = DataSet(
    key="pope",
    title="POPE, COCO",
    questions=9000,
    images=500,
    licence="MIT (questions); pictures: COCO 2014, terms at cocodataset.org",
    layouts=(
        Layout("json-lines", PUBLISHED, read_lines),
        in_parquet("parquet", ("test-*.parquet",), _mirrored, COLUMNS),
        # A table for each category.
        in_parquet("parquet-full", FULL, _mirrored, COLUMNS),
    ),
    files=tuple(Remote("pope", f"{SITE}/{name}", 0.0004) for name in PUBLISHED),
    pictures=Remote("coco-val2014", f"{COCO}/val2014.zip", 0.08),
    mirror=(Hub("pope-mirror", "lmms-lab/POPE", ("data/test-*.parquet",), 0.26),),
    note=(
        f"The 9000 questions are 3000 a file (revision {REVISION[:7]}). The paper has "
        "8910: coco_pope_random.json has 2910 lines at revision e3e3926, which LLaVA's "
        "instructions name; --source with those files makes the paper's set. Spelling "
        "was mended later."
    ),
)
