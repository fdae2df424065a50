"""InfographicVQA (task 3 of the Robust Reading portal), validation split.

Not in the paper: here for its small print. Source: Mathew et al., 2022.
"""

from typing import Annotated

from pydantic import Field

from data_prep.dataset import DataSet, Hub, Item, in_json, in_parquet
from data_prep.docvqa import PORTAL, Asked
from data_prep.originals.fields import Text
from data_prep.originals.files import Entry
from data_prep.originals.rows import Original, Row, checked


class Question(Asked):
    """A row of the JSON or of the mirror, which has no ``evidence``."""

    answer_type: tuple[str, ...] | None = None
    evidence: tuple[str, ...] | None = None
    operation: Annotated[tuple[str, ...] | None, Field(alias="operation/reasoning")] = (
        None
    )

    @property
    def told(self) -> dict[str, object]:
        """What is known of its kind: tables group by the type of its answer."""
        named = {
            "category": (self.answer_type or ("",))[0],
            "answer_type": self.answer_type,
            "evidence": self.evidence,
            "operation": self.operation,
        }
        return {name: value for name, value in named.items() if value}


class Pictured(Original):
    """Which picture a row of the JSON is about."""

    image_local_name: Text


def _item(row: Row, cell: Entry | None) -> Item:
    found = checked(Question, row)
    if cell is None:  # by its own name, whatever the folder
        image = checked(Pictured, row).image_local_name
    else:  # the mirror's pictures have no name but their question's
        image = str(row.values["questionId"])
    return Item(
        where=row.where,
        key=str(found.question_id),
        question=found.question,
        labels=found.answers,
        picture=cell or f"infographicsvqa_images/{image}",
        image=image,
        meta={"question_id": found.question_id} | found.told,
    )


MIRRORED = "InfographicVQA/validation-*.parquet"
COLUMNS = ("questionId", "question", "answers", "answer_type", "operation/reasoning")

DATASET = DataSet(
    key="infographicvqa",
    title="InfographicVQA, validation",
    questions=2801,
    images=None,
    licence=(
        "terms of the portal; pictures: as their makers have it; the mirror calls "
        "itself Apache-2.0"
    ),
    layouts=(
        in_json("portal", "infographic*VQA_val_v*.json", _item, "data"),
        in_parquet("parquet", (MIRRORED,), _item, COLUMNS),
    ),
    mirror=(Hub("infographicvqa-mirror", "lmms-lab/DocVQA", (MIRRORED,), 1.9),),
    by_hand=(
        "--mirror fetches lmms-lab/DocVQA (its folder InfographicVQA) instead, or "
        f"register at {PORTAL} and get from Task 3 "
        "infographicsVQA_val_v1.0_withQT.json and the pictures, "
        "infographicsvqa_images (an archive may stay packed)"
    ),
    note=(
        "Not in the paper. The mirror does not name its pictures: its source then "
        "counts one for each question."
    ),
)
