"""The ledger of claims: rules, made-up records of both sizes, and commands."""

import json
import shlex

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from analysis import estimates, figures
from analysis.claims import ledger, readings
from analysis.claims.claims import CLAIMS
from analysis.claims.readings import (
    CANNOT,
    EMBEDDED,
    GPU,
    NOT_SEEN,
    OPPOSITE,
    SEEN,
    Answers,
    Evidence,
    Reading,
    above,
    below,
    no_loss,
    same,
    size_of,
)
from vicrop.cli import app
from vicrop.methods import PAPER
from vicrop.run import stats
from vicrop.run.records import Record, RunConfig
from vicrop.run.results import RunFolder
from vicrop.run.stats import Estimate
from workflow import matrix, plans

MODELS = ("tiny-llava", "tiny-llava-unmasked", "tiny-instructblip", "tiny-qwen2.5-vl")
LLAVA, SEVEN, BLIP = "tiny-llava", "llava-1.5-7b", "instructblip-vicuna-7b"


@pytest.fixture
def write_run(results_folder):
    """Writes a finished run from (plain score, score, size, changes) a record."""

    def write(model, method, dataset, answers, finished=True, **changes):
        config = RunConfig(model=model, method=method, dataset=dataset, **changes)
        run = RunFolder.of(config)
        run.folder.mkdir(parents=True)
        text = ""
        for number, (plain, score, size, *more) in enumerate(answers):
            text += Record(
                id=str(number),
                question="q",
                labels=("a",),
                plain="p",
                answer="a",
                plain_score=plain,
                score=score,
                size=size,
                **(more[0] if more else {}),
            ).line()
        run.records_file.write_text(text)
        run.write_meta(
            {"config": json.loads(config.model_dump_json()), "finished": finished}
        )
        return run

    return write


def estimate(low, high, n=100):
    return Estimate((low + high) / 2, low, high, n)


# Rules: an interval in, a verdict out.


def judge(found, rule, unit="points"):
    return Reading("x", (), readings.gain, rule=rule, unit=unit).judge(found)


@pytest.mark.parametrize(
    ("rule", "low", "high", "verdict"),
    [
        (above(), 1, 3, SEEN),
        (above(), -1, 3, NOT_SEEN),
        (above(), -3, -1, OPPOSITE),
        (above(1), 0.5, 3, NOT_SEEN),
        (below(), -3, -1, SEEN),
        (below(), -3, 1, NOT_SEEN),
        (below(), 1, 3, OPPOSITE),
        (below(50), 60, 90, OPPOSITE),
        (no_loss(2), -1, 3, SEEN),
        (no_loss(2), -1.9, -0.1, SEEN),
        (no_loss(2), -5, -1, NOT_SEEN),
        (no_loss(2), -5, -3, OPPOSITE),
        (no_loss(2), -5, 4, CANNOT),
        (same(5), -4, 4, SEEN),
        (same(5), 1, 4, SEEN),
        (same(5), 1, 9, NOT_SEEN),
        (same(5), 6, 9, OPPOSITE),
        (same(5), -9, -6, OPPOSITE),
        (same(5), -1, 9, CANNOT),
        (None, 1, 3, CANNOT),
    ],
)
def test_verdict_comes_from_the_interval(rule, low, high, verdict):
    assert judge(estimate(low, high), rule) == verdict


def test_nothing_measured_and_too_few_questions_cannot_be_judged():
    assert judge(estimate(1, 2, n=9), above()) == CANNOT
    assert judge(Estimate(np.nan, np.nan, np.nan, 0), above()) == CANNOT


def test_unchanged_answers_exclude_a_loss_only_where_there_are_enough_of_them():
    """Rule of three: 36 unchanged answers leave 8 points, 200 leave 1.5."""

    def alike(n, value=0.0):
        return Estimate(value, np.nan, np.nan, n)

    assert judge(alike(36), no_loss(2)) == CANNOT
    assert judge(alike(200), no_loss(2)) == SEEN
    assert judge(alike(200), above()) == NOT_SEEN
    assert judge(alike(20, 3), above(1), unit="×") == CANNOT
    reading = Reading("x", (), readings.gain, rule=no_loss(2))
    assert reading.judge(alike(200), pictures=0.25) == CANNOT  # of 50 pictures


# Measures.


def frame(plain, score, **columns):
    made = pd.DataFrame({"plain_score": plain, "score": score, **columns}, dtype=float)
    return made.rename(index=str).assign(image=range(len(made)))


def test_measures_are_in_points():
    zeros, ones = [0.0] * 4, [1.0] * 4
    assert readings.gain(frame(zeros, ones)).value == 100
    assert readings.fall(frame(zeros, zeros), frame(ones, ones)).value == 100
    assert readings.gains_apart(frame(zeros, ones), frame(ones, ones)).value == 100
    assert readings.over(frame(zeros, ones), frame(zeros, zeros)).value == 100
    assert readings.gains_over(frame(zeros, zeros), frame(zeros, ones)).value == -100


def test_looking_is_measured_on_wrong_answers_alone():
    run = frame([0, 0, 1, 0], [1, 0, 1, 0], coverage=[1, 1, 0, 0])
    control = frame([0, 0, 1, 0], [0, 0, 1, 0], coverage=[0, 1, 1, 0])
    found = readings.found_when_wrong(run, control)
    assert (found.n, found.value) == (3, pytest.approx(100 / 3))
    crop = frame([0, 0, 1, 0], [1, 1, 1, 1])
    repaired = readings.read_when_found(run, crop, control)
    assert (repaired.n, repaired.value) == (2, 100)


def test_what_is_left_wrong_was_missed_or_not():
    """Of three left wrong, one has no crop and one crop missed the object."""
    run = frame([0] * 4, [0, 0, 0, 1], coverage=[1, 0.5, np.nan, 0])
    found = readings.missed_when_left(run)
    assert (found.n, found.value) == (2, 50)


def test_so_few_changes_that_no_exact_test_could_be_sure():
    fewest = readings.fewest_changes()
    few, enough = (
        stats.changes(np.zeros(n), np.ones(n)).p for n in (fewest - 1, fewest)
    )
    assert enough < 0.05 <= few


def test_oracle_beats_the_best_method_by_what_only_others_get():
    one, two = frame([0] * 4, [1, 1, 1, 0]), frame([0] * 4, [0, 0, 0, 1])
    assert readings.oracle(one, two).value == 25
    assert readings.oracle(one, one).value == 0


def test_the_least_gain_is_of_the_method_that_is_least_sure_to_have_one():
    """A wide interval may be less sure than a smaller gain; rule of three if alike."""
    wide, small = frame([0, 1] * 5, [1, 0] * 4 + [1, 1]), frame([0] * 10, [0] * 10)
    small.loc["0", "score"] = 1
    assert readings.least_gain(wide, small) == readings.gain(wide)
    alike = frame([0] * 10, [0] * 10)
    assert readings.least_gain(small, alike).n == 10
    assert np.isnan(readings.least_gain(small, alike).low)


def test_what_was_found_is_counted_of_wrong_answers_with_a_crop():
    run = frame([0, 0, 0, 1], [0] * 4, coverage=[1, 0.2, np.nan, 1])
    found = readings.found_share(run)
    assert (found.n, found.value) == (2, 50)


def test_independent_groups_are_resampled_apart(rng):
    one, other = rng.normal(3, 1, 400), rng.normal(1, 1, 100)
    frames = [pd.DataFrame({"x": each, "image": None}) for each in (one, other)]
    found = estimates.between(*frames, "x")
    assert found.value == pytest.approx(one.mean() - other.mean())
    wide = 1.96 * np.sqrt(one.var() / 400 + other.var() / 100)
    assert found.high - found.low == pytest.approx(2 * wide, rel=0.1)
    assert found.n == 500
    assert estimates.between(frames[0].iloc[:0], frames[1], "x") == stats.NOTHING


def test_ratios_of_wrong_and_right_answers_are_compared_in_doublings():
    layer = pd.DataFrame(
        {
            "ratio": [4.0, 4, 2, 2],
            "answer": ["wrong"] * 2 + ["right"] * 2,
            "image": None,
        }
    )
    assert readings.wrong_over_right(layer).value == 1


# Made-up records.


def by_size(small, large, n=40):
    """Answers about small and large objects, as (plain, score)."""
    return [(*small, 0.001)] * n + [(*large, 0.2)] * n


BY_KEY = {one.key: one for one in CLAIMS}


def judged(models, key, evidence=None):
    found = ledger.verdicts(evidence or Evidence(), models)
    return [one for one in found if one.claim.key == key]


def test_a_claim_is_seen_not_seen_or_cannot_be_seen(write_run):
    write_run(LLAVA, "no-crop", "plates", by_size((0, 0), (1, 1)))
    write_run(LLAVA, "rel-att", "plates", by_size((0, 1), (1, 1)))
    write_run(LLAVA, "grad-att", "plates", by_size((1, 0), (1, 0)))
    assert [one.word for one in judged([LLAVA], "C2")] == [SEEN]
    gains = {one.reading.name: one.word for one in judged([LLAVA], "C8")}
    assert gains["gain of rel-att, small objects, plates"] == SEEN
    assert gains["gain of grad-att, small objects, plates"] == OPPOSITE
    assert "gain of pure-grad, small objects, plates" not in gains  # no record
    harms = {one.reading.name: one.word for one in judged([LLAVA], "C9")}
    assert harms["gain of rel-att, large objects, plates"] == CANNOT  # 40 are few
    assert harms["gain of grad-att, large objects, plates"] == OPPOSITE


def test_failed_samples_are_in_no_measure(write_run):
    answers = by_size((0, 1), (1, 1))
    failed = {"answer": None, "score": None, "error": "ValueError: broken"}
    run = write_run(LLAVA, "rel-att", "plates", answers)
    line = Record(id="x", question="q", labels=("a",), size=0.001, **failed).line()
    run.records_file.write_text(run.records_file.read_text() + line)
    [first] = judged([LLAVA], "C8")
    assert first.found.n == 40


def test_difficult_answers_count_no_more_than_in_the_official_score(write_run):
    hard = {"meta": {"difficult_direct_answer": True}}
    answers = [(0, 1, None), (1, 0, None, hard)] * 20
    write_run(SEVEN, "rel-att", "aokvqa", answers)
    [found] = judged([SEVEN], "C9")
    assert (found.found.n, found.found.value) == (20, 100)


def standing(models, key, size=EMBEDDED, evidence=None):
    found = ledger.verdicts(evidence or Evidence(), models)
    return {one.claim.key: one for one in ledger.standings(found, size)}[key]


def test_a_claim_that_nothing_here_could_show_says_why(results_folder):
    here, there = (standing([LLAVA], "C13", size) for size in (EMBEDDED, GPU))
    assert here.word == there.word == ledger.UNTESTABLE
    assert here.why.startswith("SAM, YOLO and CLIP")
    assert there.why.startswith("no command")
    assert standing([LLAVA], "C18").why.startswith("by construction")
    later = standing([LLAVA], "C8", GPU)
    assert (later.word, later.why) == (ledger.NOT_RUN, "it has no records")


def test_a_claim_of_no_loss_says_that_there_are_too_few(write_run):
    for method in PAPER:
        write_run(LLAVA, method, "plates", by_size((0, 1), (1, 1)))
    found = standing([LLAVA], "C9")
    assert found.word == ledger.UNTESTABLE
    assert found.why == "cannot be told in tiny-llava (too few, n = 40)"


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ([SEEN, SEEN], ledger.SHOWN),
        ([SEEN, NOT_SEEN], ledger.PARTLY),
        ([SEEN, CANNOT], ledger.PARTLY),
        ([SEEN, OPPOSITE], ledger.PARTLY),
        ([NOT_SEEN, CANNOT], ledger.NOT_SHOWN),
        ([NOT_SEEN, OPPOSITE], ledger.NOT_SHOWN),
        ([OPPOSITE, OPPOSITE], ledger.OTHER_WAY),
        ([OPPOSITE, CANNOT], ledger.OTHER_WAY),
        ([CANNOT, CANNOT], ledger.UNTESTABLE),
        ([], ledger.NOT_RUN),
    ],
)
def test_a_claims_verdict_is_made_of_one_reading_a_model(said, word):
    claim = BY_KEY["C6"]
    last, words = claim.of(LLAVA)
    models = [LLAVA, "tiny-llava-unmasked"]
    found = [
        ledger.Verdict(claim, last, model, estimate(0, 1), one)
        for model, one in zip(models, said, strict=False)
    ]
    found.append(ledger.Verdict(claim, words, LLAVA, estimate(0, 1), SEEN))
    assert ledger.Standing(claim, EMBEDDED, found).word == word


def test_models_that_differ_are_named():
    claim, many = BY_KEY["C2"], [LLAVA, "tiny-instructblip", "tiny-llava-unmasked"]
    found = [
        ledger.Verdict(claim, claim.readings[0], model, estimate(0, 1), word)
        for model, word in zip(many, [SEEN, SEEN, NOT_SEEN], strict=True)
    ]
    why = "shown in tiny-llava and tiny-instructblip; not shown in tiny-llava-unmasked"
    assert ledger.Standing(claim, EMBEDDED, found).why == why
    assert ledger.Standing(claim, EMBEDDED, found[:2]).why == "shown in all 2 models"


def test_made_up_records_of_a_7b_model_join_the_ledger_by_themselves(write_run):
    write_run(LLAVA, "rel-att", "plates", by_size((0, 1), (1, 1)))
    before = ledger.with_records(Evidence(), [LLAVA])
    write_run(SEVEN, "rel-att", "textvqa", by_size((0, 1), (1, 1)))
    evidence = Evidence()
    models = ledger.with_records(evidence, [LLAVA])
    assert (before, models) == ([LLAVA], [LLAVA, SEVEN])

    found = ledger.verdicts(evidence, models)
    rows = ledger.details(found)
    theirs = rows[rows["model"] == SEVEN]
    assert set(theirs["size"]) == {GPU}
    assert set(rows[rows["model"] == LLAVA]["size"]) == {EMBEDDED}
    [gain] = theirs[theirs["claim"] == "C8"].to_dict("records")
    assert gain["measured"] == "gain of rel-att, textvqa"
    assert gain["n"] == 80
    assert gain["verdict"] == SEEN
    assert gain["records"] == "llava-1.5-7b__rel-att__textvqa"
    assert ledger.commands(evidence, BY_KEY["C8"]) == ["make run SIZE=table2"]


def test_pages_and_the_runs_that_have_one_are_linked(write_run, tmp_path, monkeypatch):
    monkeypatch.setattr("workflow.executed", lambda: tmp_path)
    for method in ("rel-att", "grad-att"):
        write_run(LLAVA, method, "plates", by_size((0, 1), (1, 1)))
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "tiny-llava__rel-att__plates.ipynb").write_text("{}")
    found = ledger.links(judged([LLAVA], "C8"))
    runs = {name: address for name, address in found.items() if "__" in name}
    assert runs == {
        "tiny-llava__rel-att__plates": "runs/tiny-llava__rel-att__plates.html"
    }
    address = ledger.address("does_cropping_help#fig-gain")
    assert address == "does_cropping_help.html#fig-gain"
    shown = figures.table(pd.DataFrame({"records": [", ".join(runs) + ", <b>"]}), found)
    assert '<a href="runs/tiny-llava__rel-att__plates.html">' in shown.to_html()
    assert "&lt;b&gt;" in shown.to_html()


def test_records_of_a_subset_count_until_the_whole_is_there(write_run):
    write_run(SEVEN, "rel-att", "textvqa", [(0, 1, 0.001)] * 20, limit=20)
    [found] = judged([SEVEN], "C8")
    assert (found.found.n, found.runs) == (
        20,
        ("llava-1.5-7b__rel-att__textvqa__n20-s0",),
    )
    write_run(SEVEN, "rel-att", "textvqa", [(0, 1, 0.001)] * 50)
    [found] = judged([SEVEN], "C8")
    assert found.found.n == 50


def test_unfinished_and_changed_runs_are_no_evidence(write_run):
    write_run(SEVEN, "rel-att", "textvqa", [(0, 1, 0.001)] * 20, finished=False)
    write_run(SEVEN, "grad-att", "textvqa", [(0, 1, 0.001)] * 20, geometry="upstream")
    assert judged([SEVEN], "C8") == []


def test_a_claim_about_two_models_reads_the_sister_of_the_same_size(write_run):
    assert (size_of("tiny-instructblip"), size_of(BLIP)) == (EMBEDDED, GPU)
    write_run(SEVEN, "rel-att", "docvqa", [(0, 1, None)] * 20)
    write_run(BLIP, "rel-att", "docvqa", [(0, 0, None)] * 20)
    [apart] = judged([SEVEN], "C10")
    assert apart.found.value == 100
    assert apart.runs == (
        "llava-1.5-7b__rel-att__docvqa",
        "instructblip-vicuna-7b__rel-att__docvqa",
    )


def test_relations_are_told_apart_by_category(write_run):
    kinds = [
        (0, 1, None, {"meta": {"category": "direct_attributes"}}),
        (0, 0, None, {"meta": {"category": "relative_position"}}),
    ]
    write_run(SEVEN, "rel-att-high", "vstar", kinds * 20)
    [found] = judged([SEVEN], "C21")
    assert (found.found.value, found.word) == (100, SEEN)


# Commands.


def missing(key):
    return ledger.commands(Evidence(), BY_KEY[key])


def test_a_size_of_the_matrix_is_named_where_it_has_all_that_is_missing(results_folder):
    assert missing("C4") == ["make run SIZE=table1"]
    assert missing("C8") == ["make run SIZE=table2"]
    assert missing("C12") == ["make run SIZE=table3-vstar"]


def test_what_no_size_has_is_told_run_by_run(results_folder, monkeypatch):
    made = []
    monkeypatch.setattr(
        "vicrop.run.loop.run_together", lambda c, again: made.extend(c) or []
    )
    told = missing("C7")
    assert len(told) == 2
    for line in told:
        program, *arguments = shlex.split(line)
        assert program == "vicrop"
        assert CliRunner().invoke(app, arguments).exit_code == 0
    assert {one.run_id for one in made} == {
        f"{model}__{method}__textvqa__bfloat16"
        for model in (SEVEN, BLIP)
        for method in ("rel-att", "random-crop", "human-crop", "full-twice")
    }
    assert {(one.device, one.dtype) for one in made} == {("cuda", "bfloat16")}


def test_what_is_there_is_not_asked_for(write_run):
    for method in ("random-crop", "human-crop", "full-twice"):
        write_run(SEVEN, method, "textvqa", by_size((0, 1), (1, 1)))
    first = missing("C7")[0]
    assert first == (
        "vicrop run --method=rel-att --model=llava-1.5-7b --dataset=textvqa "
        "--dtype=bfloat16 --device=cuda"
    )


def test_what_no_run_records_is_a_page_to_execute(results_folder):
    [line] = missing("C1")
    program, source, *_ = shlex.split(line)
    assert (program, source) == ("papermill", "notebooks/claims.ipynb")
    assert "models: [llava-1.5-7b, instructblip-vicuna-7b]" in line


# The registry.


def test_there_is_one_row_a_claim_in_order():
    assert [one.key for one in CLAIMS] == [f"C{n}" for n in range(1, 23)]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda one: one.key)
@pytest.mark.parametrize("model", [*MODELS, SEVEN, BLIP])
def test_a_claim_has_one_primary_reading_a_model_and_its_reason(claim, model):
    primary = [one for one in claim.of(model) if one.why]
    assert len(primary) == bool(claim.of(model)) or claim.key == "C12"
    assert all(len(one.why.split()) > 2 for one in primary)
    assert len({one.unit for one in primary}) <= 1


def test_tiles_are_read_off_the_two_families_that_the_claim_names():
    said = {m: [one.name for one in BY_KEY["C12"].of(m) if one.why] for m in MODELS}
    assert said["tiny-llava"] == ["rel-att-high over rel-att"]
    assert said["tiny-instructblip"] == ["grad-att-high over grad-att"]
    assert said["tiny-qwen2.5-vl"] == []


def test_the_core_is_declared_with_its_reasons():
    core = [one.key for one in CLAIMS if one.core]
    assert core == ["C2", "C4", "C5", "C6", "C7", "C8", "C9"]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda one: one.key)
def test_every_claim_is_read_off_or_says_why_not(claim):
    here = any(one.rule for one in claim.readings if one.size in ("", EMBEDDED))
    there = any(one.size in ("", GPU) for one in claim.readings)
    assert [here, bool(claim.cannot), bool(claim.true)].count(True) == 1
    assert [there, bool(claim.cannot_gpu), bool(claim.true)].count(True) == 1
    place, _, number = claim.paper.partition(": ")
    assert place and number and claim.page
    names = [(one.size, one.name, one.families) for one in claim.readings]
    assert len(set(names)) == len(names)


def test_embedded_readings_need_runs_that_the_book_makes():
    configs, _ = matrix.chosen(plans.MATRIX, "embedded")
    made = {config.run_id for config in configs}
    for need in (n for one in CLAIMS for r in one.of(LLAVA) for n in r.needs):
        if isinstance(need, Answers):
            asked = {"dataset": need.dataset, "method": need.method}
            assert RunConfig(model=need.model or LLAVA, **asked).run_id in made


def test_a_number_that_is_only_shown_has_no_verdict(results_folder):
    table = pd.DataFrame({"method": ["no-crop", "rel-att"]})
    table["seconds"] = [list(range(10)), list(range(20, 30))]
    table["answer_token_seconds"] = 2.0
    evidence = Evidence({(LLAVA, "cost"): table})
    found = judged([LLAVA], "C14", evidence)
    stand = standing([LLAVA], "C14", evidence=evidence)
    assert (stand.word, found[0].word) == (ledger.UNTESTABLE, CANNOT)
    assert stand.why.startswith("a CPU's answer token")
    assert ledger.details(found)["seen if"].tolist() == ["not to be compared"]


def test_equal_attention_is_read_off_equality_alone():
    """That a ratio lies above 1 is another claim's."""
    rules = {one.seen_if for one in BY_KEY["C6"].readings}
    assert rules == {"from half to double (within ±1 of 0)"}


def test_what_stays_wrong_because_it_was_missed_speaks_against_seeing(write_run):
    missed = {"box": (0, 0, 1, 1), "coverage": 0.0}
    answers = [(0, 0, 0.001, missed)] * 20 + [(0, 1, 0.001, missed)] * 20
    write_run(LLAVA, "rel-att", "plates", answers)
    before, after = judged([LLAVA], "C7")
    assert (after.found.n, after.found.value, after.word) == (20, 100, OPPOSITE)
    assert (before.found.n, before.found.value, before.word) == (40, 0, OPPOSITE)


def test_what_is_not_there_is_no_evidence(results_folder):
    need = Answers("plates", "rel-att")
    assert Evidence().frame(need, LLAVA) is None
    assert Evidence().frame("zoom", LLAVA) is None
    assert Evidence().rows(need, LLAVA) is None
