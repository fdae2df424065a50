"""Measures that answer what the paper leaves open, on small tables."""

import pandas as pd

import workflow
from analysis.claims import ledger, open_questions
from analysis.claims.claims import CLAIMS
from analysis.claims.open_questions import QUESTIONS
from vicrop.run import stats


def test_an_interval_of_too_few_samples_is_none():
    few, enough = stats.bootstrap([4.0] * 3), stats.bootstrap([4.0] * 10)
    told = {"m": {"few": few, "enough": enough, "none": stats.NOTHING}}
    table = open_questions.told(told, "×", null=1)
    assert table["effect"].tolist() == ["too few", "cannot be told", "no samples"]
    assert table["×, 95 %"].tolist() == ["4.0", "4.0 (n = 10, no interval)", "–"]


def test_scorers_differ_where_the_label_is_in_a_longer_answer():
    run = pd.DataFrame(
        {
            "error": [None] * 2,
            "plain": ["x", "x"],
            "answer": ["a cat", "cat"],
            "labels": [("cat",)] * 2,
            "question": ["q"] * 2,
            "image": ["0", "1"],
            "score": [0.0, 1.0],
        }
    )
    found = open_questions.scorers(run)
    assert found["equality"].value == 50
    assert found["label in answer"].value == 100
    assert found["label in answer over equality"].value == 50


def test_every_question_has_an_answer_in_a_line_and_a_place():
    claims = {one.key for one in CLAIMS}
    others = [n for n, (_, of) in enumerate(QUESTIONS, 1) if of not in claims]
    lines = dict.fromkeys(others, "so many")
    table = open_questions.answered(ledger.standings([]), lines)
    assert list(table["question"]) == list(range(1, 14))
    assert (table["answer"] == "so many").sum() == len(others) == 5
    assert (table["answer"] != "").all()
    pages = set(table["where"]) - {open_questions.HERE}
    files = {file.stem for file in workflow.notebooks().glob("*.ipynb")}
    assert pages <= files


def test_sides_are_counted_beyond_their_intervals():
    found = [stats.Estimate(2, 1, 3, 9), stats.Estimate(2, -1, 3, 9)]
    said = open_questions.sides([*found, found[0].times(-1)])
    assert said == "1 of 3 above 0, 1 below"
    assert open_questions.sides(found, 5) == "0 of 2 above 5, 2 below"


def test_scores_of_a_probe_are_by_name():
    table = pd.DataFrame(
        {"id": ["a", "a", "b", "b"], "name": ["x", "y"] * 2, "score": [1, 0, 1, 1]}
    ).assign(image=["a", "a", "b", "b"])
    shares = open_questions.scores(table)
    assert shares["x"].value == 100
    assert isinstance(shares["y"], stats.Estimate)
