"""What is done to an answer before an official script sees it.

Some scripts compare raw text, because the models of their time chose from a list of
answers. A model that says "Yes" is wrong there. Published numbers of today's models are
all made from prepared answers; so are the scores in records and tables, which show the
raw ones beside them. ``vicrop.scoring.score`` prepares nothing.

- GQA: lower case, no final stop (LLaVA, ``convert_gqa_for_eval.py``).
- VQAv2: ``normalise.m4c``, TextVQA's (LLaVA, ``convert_vqav2_for_submission.py``).
- A-OKVQA: as GQA; there is no published way that we know.

>>> lower("Yes."), as_said("Yes.")
('yes', 'Yes.')
"""


def as_said(prediction: str) -> str:
    """The answer as the model gave it."""
    return prediction


def lower(prediction: str) -> str:
    """In lower case, without final stops and blanks around it."""
    return prediction.strip().rstrip(".").lower()
