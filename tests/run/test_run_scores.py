"""Scores of runs, computed anew from their records."""

import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vicrop.run import scores
from vicrop.run.folder import RunFolder
from vicrop.run.records import Record, RunConfig


@pytest.fixture
def write_run(tmp_path):
    """Writes a run's folder from (plain, answer, labels, changes) a record."""

    def write(dataset, answers, name="run"):
        run = RunFolder(tmp_path / name)
        run.folder.mkdir()
        text = ""
        for number, (plain, answer, labels, changes) in enumerate(answers):
            fields = {
                "id": str(number),
                "question": "q",
                "labels": labels,
                "plain": plain,
                "answer": answer,
                "plain_score": 0.0,
                "score": 0.0,
            }
            text += Record(**fields | changes).line()
        run.records_file.write_text(text)
        config = RunConfig(model="m", method="rel-att", dataset=dataset)
        run.write_meta({"config": json.loads(config.model_dump_json())})
        return run

    return write


def lines_of(run, **wanted):
    return [
        line
        for line in scores.card(run).itertuples()
        if all(getattr(line, key) == value for key, value in wanted.items())
    ]


def only(run, **wanted):
    [line] = lines_of(run, **wanted)
    return line


def test_both_variants_are_computed_from_the_answers_not_the_stored_scores(write_run):
    run = write_run("docvqa", [("", "Edward Shannon", ["Edward Shannon"], {})])
    official, upstream = only(run, variant="official"), only(run, variant="upstream")
    assert (official.plain.value, official.answer.value) == (0, 1)
    # The authors' script takes an empty answer for right: no gain is seen.
    assert (upstream.plain.value, upstream.gain.value) == (1, 0)
    assert (official.metric, upstream.metric) == ("ANLS", "accuracy")


def test_labels_take_the_shape_that_the_authors_script_needs(write_run):
    run = write_run("pope", [("no", "yes", ["yes"], {}), ("no", "no", ["no"], {})])
    line = only(run, variant="upstream")
    assert (line.plain.value, line.answer.value) == (0.5, 1)


def test_data_that_the_authors_never_scored_have_the_official_variant_only(write_run):
    run = write_run("hr-bench-4k", [("A", "B", ["B"], {"meta": {"question_id": "0"}})])
    assert set(scores.card(run)["variant"]) == {"official"}


def test_difficult_answers_are_left_out_officially_and_kept_by_the_authors(write_run):
    ten = ["cab"] * 10
    hard = {"meta": {"difficult_direct_answer": True}}
    run = write_run("aokvqa", [("bus", "cab", ten, {}), ("bus", "bus", ten, hard)])
    official = only(run, variant="official", metric="accuracy")
    assert (official.n, only(run, variant="upstream").n) == (1, 2)
    assert official.answer.value == 1
    assert only(run, variant="upstream").answer.value == 0.5


def test_a_failed_sample_is_an_error_and_no_answer(write_run):
    failed = {"plain": None, "answer": None, "error": "ValueError: broken"}
    run = write_run("gqa", [("yes", "yes", ["yes"], {}), ("", "", ["no"], failed)])
    line = only(run, variant="official", metric="accuracy")
    assert (line.n, line.errors, line.answer.value) == (1, 1, 1)


def test_a_run_of_which_all_samples_failed_is_shown(write_run):
    failed = {"plain": None, "answer": None, "error": "ValueError: broken"}
    run = write_run("gqa", [("", "", ["no"], failed)] * 3)
    line = only(run, variant="official")
    assert (line.n, line.errors) == (0, 3)
    assert np.isnan(line.answer.value)


def test_groups_are_by_category_and_size_where_there_is_more_than_one(write_run):
    kinds = [{"meta": {"category": kind}, "size": size} for kind, size in [
        ("adversarial", 0.001), ("popular", 0.01), ("popular", 0.2)
    ]]  # fmt: skip
    answers = [("yes", "yes", ["yes"], changes) for changes in kinds]
    groups = set(scores.card(write_run("pope", answers))["group"])
    assert groups == {
        "all",
        "category adversarial",
        "category popular",
        "size small",
        "size medium",
        "size large",
    }
    same = [("yes", "yes", ["yes"], kinds[0])] * 2
    assert only(write_run("docvqa", same, "same"), variant="official").group == "all"


said = st.lists(
    st.tuples(*[st.sampled_from(["yes", "no"])] * 3), min_size=1, max_size=12
)


def slow_rates(texts, labels):
    """The official script's rates, its counts made one by one."""
    counts = Counter(zip(texts, labels, strict=True))
    both, wrong = counts["yes", "yes"], counts["yes", "no"]
    missed, n = counts["no", "yes"], len(labels)
    parts = {
        "precision": (both, both + wrong),
        "recall": (both, both + missed),
        "F1": (2 * both, 2 * both + wrong + missed),
        "yes ratio": (both + wrong, n),
    }
    return {name: part / (whole or 1) for name, (part, whole) in parts.items()}


@given(rows=said)
def test_rates_of_yes_are_those_of_the_official_script(rows):
    plain, answers, labels = map(list, zip(*rows, strict=True))
    frame = pd.DataFrame({"labels": [(label,) for label in labels], "image": None})
    given = [
        np.array([float(a == b) for a, b in zip(texts, labels, strict=True)])
        for texts in (plain, answers)
    ]
    made = {line["metric"]: line for line in scores.yes_or_no("pope", frame, *given)}
    for which, texts in (("plain", plain), ("answer", answers)):
        for name, wanted in slow_rates(texts, labels).items():
            assert made[name][which].value == pytest.approx(wanted)
    gain = made["F1"]["answer"].value - made["F1"]["plain"].value
    assert made["F1"]["gain"].value == pytest.approx(gain)


def rotation(base, answer):
    """One row of an HR-Bench question."""
    meta = {"question_id": base, "category": "single"}
    return ("A", answer, ["B"], {"meta": meta, "question": "q\n(A) x\n(B) y"})


def test_a_question_counts_once_if_it_is_right_in_every_rotation(write_run):
    answers = [rotation("0", "B")] * 4 + [rotation("1", "B")] * 3 + [rotation("1", "A")]
    run = write_run("hr-bench-4k", answers)
    line = only(run, metric="right in every rotation")
    assert (line.n, line.answer.value, line.plain.value) == (2, 0.5, 0)
    assert only(run, metric="accuracy").answer.value == 7 / 8


def test_question_that_lacks_a_rotation_is_not_right_in_every_one(write_run):
    part = [rotation("1", "B")] * 3
    run = write_run("hr-bench-4k", [rotation("0", "A")] * 4 + part)
    line = only(run, metric="right in every rotation")
    assert (line.n, line.answer.value) == (1, 0)
    alone = write_run("hr-bench-4k", part, "alone")
    assert lines_of(alone, metric="right in every rotation") == []


def test_files_hold_the_same_numbers_in_three_forms(write_run, tmp_path):
    lines = scores.card(write_run("gqa", [("no", "yes", ["yes"], {})] * 3))
    csv, whole, markdown = scores.write(lines, tmp_path / "out")
    table = pd.read_csv(csv)
    assert list(table["metric"]) == ["accuracy", "accuracy, as said", "accuracy"]
    assert list(table["answer"]) == [1.0, 1.0, 1.0]
    assert table.loc[0, "answer_low"] == pytest.approx(lines["answer"][0].low)
    assert json.loads(whole.read_text())[0]["gain"] == 1
    _, _, first, *_ = markdown.read_text().splitlines()
    cells = [cell.strip() for cell in first.split("|")]
    assert cells[1:6] == ["run", "all", "official", "accuracy", "3"]


def test_several_runs_have_a_row_each(write_run):
    """Their cards are one below the other; rows of one number are not each other's."""
    answers = [("cat", "dog", ["dog"], {})]
    cards = [scores.card(write_run("vqav2", answers, name)) for name in "abc"]
    assert len(scores.flat(pd.concat(cards))) == sum(map(len, cards))


def test_a_folder_without_records_or_parameters_is_named(tmp_path, write_run):
    with pytest.raises(FileNotFoundError, match="no records.jsonl in .*nothing"):
        scores.card(RunFolder(tmp_path / "nothing"))
    run = write_run("gqa", [("no", "yes", ["yes"], {})])
    run.write_meta({})
    with pytest.raises(ValueError, match="does not say what was run"):
        scores.card(run)


def test_prepared_answers_are_scored_and_the_raw_ones_shown_beside(write_run):
    run = write_run("gqa", [("No", "Yes.", ["yes"], {}), ("no", "yes", ["yes"], {})])
    prepared = only(run, variant="official", metric="accuracy")
    raw = only(run, variant="official", metric="accuracy, as said")
    assert (prepared.answer.value, raw.answer.value) == (1, 0.5)
    assert (prepared.gain.value, raw.gain.value) == (1, 0.5)


@given(answers=st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=24))
def test_question_is_right_if_it_is_in_all_of_its_rotations(answers):
    bases = [str(number // scores.ROTATIONS) for number in range(4 * 6)]
    right = [1.0] * len(bases)
    for base, (cycle, said) in enumerate(answers[:6]):
        right[4 * base + cycle] = float(said)
    metas = [{"question_id": base} for base in bases]
    rows = pd.DataFrame({"meta": metas, "image": bases})
    given = np.array(right)
    [line] = scores.every_rotation("hr-bench-4k", rows, given, given)
    every = [all(right[at : at + 4]) for at in range(0, len(right), 4)]
    assert line["answer"].value == pytest.approx(np.mean(every))
