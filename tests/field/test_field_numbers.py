"""What people bring, numbers: intervals, pictures with several questions, parameters.

Rows of the list of cases are named in the docstrings; the others are of the same kinds.
"""

import itertools
import json
import subprocess
import sys
import warnings
from types import SimpleNamespace

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import permutation_test
from statsmodels.stats.contingency_tables import mcnemar
from typer.testing import CliRunner

import workflow
from analysis import estimates, failures, figures, looking
from analysis.claims import readings
from vicrop import paths
from vicrop.cli import app
from vicrop.run import results, scores, stats
from vicrop.run.folder import RunFolder
from vicrop.run.records import Record, RunConfig
from vicrop.run.stats import Estimate
from workflow import matrix, parameters, readme
from workflow.plans import MATRIX

ALIKE = Estimate(0.5, np.nan, np.nan, 12)


@pytest.fixture
def write_run(tmp_path):
    """Writes a run from (id, image, plain, answer, changes) a record; its folder."""

    def write(name, rows, dataset="mine", **meta):
        run = RunFolder(tmp_path / name)
        run.folder.mkdir()
        text = ""
        for number, image, plain, answer, changes in rows:
            fields = {
                "id": number,
                "question": "q",
                "labels": ("yes",),
                "image": image,
                "plain": plain,
                "answer": answer,
                "plain_score": float(plain == "yes"),
                "score": float(answer == "yes"),
            }
            text += Record(**fields | changes).line()
        run.records_file.write_text(text)
        config = RunConfig(model="m", method="rel-att", dataset=dataset)
        run.write_meta({"config": json.loads(config.model_dump_json()), **meta})
        return run

    return write


def answers(pairs, each=1):
    """Rows of a run, ``each`` questions a picture."""
    return [
        (str(number), f"{number // each}.png", plain, answer, {})
        for number, (plain, answer) in enumerate(pairs)
    ]


def scored(run, *arguments):
    """What ``vicrop score`` says."""
    places = ["--out", str(run.folder.parent / "out")]
    said = CliRunner().invoke(app, ["score", str(run.folder), *arguments, *places])
    assert said.exit_code == 0, said.output
    return said.output


# No interval without information.


@pytest.mark.parametrize("n", [1, 2, 12])
def test_answers_that_all_changed_alike_have_no_interval(n):
    """Case 26: n answers of which none changed."""
    found = stats.gain(np.ones(n), np.ones(n))
    said = found.format(1, sign=True, scale=100)
    assert said == f"+0.0 (n = {n}, no interval)"
    assert not found.excludes(0) and not found.excludes(0.1)
    assert estimates.verdict(found) == "cannot be told"


def test_score_says_that_there_is_no_interval(write_run):
    """Case 26: on the screen, and as an empty cell or null in the files."""
    run = write_run("a", answers([("no", "no")] * 12))
    assert "+0.0 (n = 12, no interval)" in scored(run)
    out = run.folder.parent / "out"
    table = pd.read_csv(out / "scores.csv")
    assert table.loc[0, "gain"] == 0 and np.isnan(table.loc[0, "gain_low"])
    assert json.loads((out / "scores.json").read_text())[0]["gain_high"] is None
    assert "no interval" in (out / "scores.md").read_text()


def test_shares_of_right_answers_keep_wilsons_interval():
    """Case 26: it says something where a bootstrap does not."""
    found = stats.accuracy([1.0] * 12, [f"{n}.png" for n in range(12)])
    assert (found.low, found.high) == pytest.approx((0.7575, 1), abs=1e-4)


def test_a_claim_of_nothing_that_varies_is_not_decided_by_no_width():
    """Case 26: four of one picture say no more than that picture does."""
    reading = readings.Reading("x", (), readings.gain, rule=readings.no_loss(2))
    unchanged = Estimate(0, np.nan, np.nan, 200)
    assert reading.judge(unchanged) == readings.SEEN  # rule of three: ±1.5 points
    assert reading.judge(unchanged, pictures=1 / 4) == readings.CANNOT  # ±6


def test_charts_draw_a_point_where_there_is_no_interval():
    """Case 26: and no bar, no warning."""
    both = {"told": Estimate(0.5, 0.4, 0.6, 30), "alike": ALIKE}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, ax = plt.subplots()
        figures.forest(both, ax, "points")
        bars = [line for line in ax.lines if len(line.get_xdata()) == 2]
        drawn = [np.isfinite(line.get_xdata()).all() for line in bars]
        dots = [line for line in ax.lines if line.get_marker() == "o"]
        assert (drawn[:2], len(dots)) == ([True, False], 2)
        figures.bars(["a", "b"], {"x": list(both.values())}, plt.subplots()[1])
        figures.layers({"x": list(both.values())}, plt.subplots()[1])
        figures.binned({"m": {"x": both}}, "bins", "points")
        figures.ladders({"m": both}, "accuracy, %")
        figures.stacked({"m": {"alike": ALIKE}}, "points", {}).canvas.draw()
    plt.close("all")


def test_a_table_for_the_readme_has_no_interval_either(monkeypatch):
    """Case 26: JSON has no NaN, and the table says it in words."""
    row = readme._plain(Estimate(0.0, np.nan, np.nan, 12))
    assert row == {"value": 0, "low": None, "high": None, "n": 12}
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert readme._shown(row, sign=True) == "+0.0 (n = 12, no interval)"


# Questions about one picture.


def slow_draws(groups, seed=1, rounds=6000):
    """Lists of samples: pictures drawn one by one, each with all of its samples."""
    rng = np.random.default_rng(seed)
    for _ in range(rounds):
        chosen = rng.integers(0, len(groups), len(groups))
        yield [one for number in chosen for one in groups[number]]


def by_picture(values, images):
    found = {}
    for value, image in zip(values, images, strict=True):
        found.setdefault(image, []).append(value)
    return list(found.values())


def slow_interval(groups, statistic):
    return np.percentile([statistic(one) for one in slow_draws(groups)], (2.5, 97.5))


@pytest.fixture
def shared(rng):
    """Scores of 60 pictures, one to five questions each, and alike within one."""
    images = np.repeat(np.arange(60), rng.integers(1, 6, 60))
    easy = rng.random(60)
    return (rng.random(len(images)) < easy[images]).astype(float), images


@pytest.mark.parametrize("statistic", [np.mean, np.median])
def test_pictures_are_drawn_with_all_of_their_questions(rng, shared, statistic):
    """Case 26: as when each is drawn by hand."""
    _, images = shared
    shift = rng.normal(size=60)
    values = shift[images] + 0.3 * rng.normal(size=len(images))
    found = stats.bootstrap(values, statistic, images=images)
    slow = slow_interval(by_picture(values, images), statistic)
    assert (found.low, found.high) == pytest.approx(tuple(slow), abs=0.05)
    assert (found.value, found.n) == (statistic(values), len(images))
    alone = stats.bootstrap(values, statistic)
    assert found.high - found.low > 1.3 * (alone.high - alone.low)


def test_accuracy_varies_as_its_pictures_do(shared):
    """Case 26: Wilson's interval of as many questions as would vary so."""
    right, images = shared
    found, alone = stats.accuracy(right, images), stats.accuracy(right)
    slow = slow_interval(by_picture(right, images), np.mean)
    assert (found.low, found.high) == pytest.approx(tuple(slow), abs=0.015)
    assert found.high - found.low > 1.2 * (alone.high - alone.low)
    assert (found.value, found.n) == (alone.value, alone.n)


@given(
    rows=st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=40)
)
def test_accuracy_is_never_surer_than_of_independent_questions(rows):
    images, right = zip(*rows, strict=True)
    found, alone = stats.accuracy(right, images), stats.accuracy(right)
    assert 0 <= found.low <= found.value + 1e-9
    assert found.value - 1e-9 <= found.high <= 1
    assert found.high - found.low >= alone.high - alone.low - 1e-9


def test_questions_asked_four_times_say_no_more_than_asked_once(rng):
    """Case 26: HR-Bench's rotations are four rows of one picture."""
    before, after = rng.integers(0, 2, (2, 50)).astype(float)
    once = stats.gain(before, after)
    pictures = np.repeat(np.arange(50), 4)
    four = stats.gain(np.repeat(before, 4), np.repeat(after, 4), pictures)
    assert (four.low, four.high) == pytest.approx((once.low, once.high), abs=1e-9)
    assert (four.value, four.n) == (once.value, 200)
    one, other = stats.accuracy(after), stats.accuracy(np.repeat(after, 4), pictures)
    assert (other.low, other.high) == pytest.approx((one.low, one.high), abs=1e-9)


def test_groups_about_the_same_pictures_are_drawn_together(rng, shared):
    """Case 26: easy pictures are easy for both groups, which their difference knows."""
    _, images = shared
    shift = 3 * rng.normal(size=60)
    frame = pd.DataFrame({"image": images, "x": shift[images]})
    frame["x"] += rng.normal(size=len(frame))
    first = rng.random(len(frame)) < 0.5
    found = estimates.between(frame[first], frame[~first], "x")
    rows = by_picture(zip(frame["x"], first, strict=True), images)

    def apart(drawn):
        values, member = (np.array(each) for each in zip(*drawn, strict=True))
        return values[member].mean() - values[~member].mean()

    slow = slow_interval(rows, apart)
    assert (found.low, found.high) == pytest.approx(tuple(slow), abs=0.12)
    assert found.n == len(frame)


@given(pairs=st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40))
def test_p_is_mcnemars_where_each_picture_has_one_question(pairs):
    """Case 26: statsmodels' exact one."""
    before, after = (
        np.array(each, float) for each in zip(*[(0, 0), *pairs], strict=True)
    )
    found = stats.changes(before, after, [f"{n}.png" for n in range(len(before))])
    table = [[0, found.broken], [found.fixed, 0]]
    assert found.p == pytest.approx(float(mcnemar(table, exact=True).pvalue))


@given(net=st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_p_counts_all_ways_in_which_signs_could_have_fallen(net):
    """Case 26: one by one."""
    sums = [
        sum(sign * one for sign, one in zip(signs, net, strict=True))
        for signs in itertools.product((-1, 1), repeat=len(net))
    ]
    far = sum(abs(one) >= abs(sum(net)) for one in sums)
    assert stats.flips(np.array(net)) == pytest.approx(far / len(sums))


def test_p_is_that_of_a_permutation_test_over_pictures():
    """Case 26: SciPy's, exact."""
    net = np.array([2, 1, 1, -1, 3, 1, 0, -2, 1, 1])
    tested = permutation_test(
        (net,), np.sum, permutation_type="samples", n_resamples=np.inf
    )
    assert stats.flips(net) == pytest.approx(tested.pvalue)


def test_answers_that_change_together_are_no_independent_coins():
    """Case 26: six fixed answers about one picture are one change."""
    before, after = np.zeros(6), np.ones(6)
    assert stats.changes(before, after).p == pytest.approx(2 / 2**6)
    assert stats.changes(before, after, ["a.png"] * 6).p == 1


def test_a_picture_that_is_not_known_is_one_of_its_own(shared):
    """Case 26: records of before have none; some may."""
    right, images = shared
    assert stats.accuracy(right, [None] * len(right)) == stats.accuracy(right)
    some = [*map(str, images[:50]), *[None] * (len(images) - 50)]
    own = [*map(str, images[:50]), *(f"own {n}" for n in range(len(images) - 50))]
    assert stats.gain(1 - right, right, some) == stats.gain(1 - right, right, own)


def test_two_hundred_thousand_questions_take_no_copies(rng):
    """Case 26: VQAv2; against the variance of a ratio of sums."""
    images = rng.integers(0, 40_000, 214_000)
    before = rng.choice([0, 0.3, 0.6, 0.9, 1], len(images))
    after = np.where(rng.random(len(images)) < 0.1, 1 - before, before)
    found = stats.gain(before, after, images)
    change = after - before
    sums = np.bincount(images, change - change.mean())
    wide = 1.96 * np.sqrt((sums**2).sum()) / len(images)
    assert found.high - found.low == pytest.approx(2 * wide, rel=0.05)
    assert 0 <= stats.changes(before, after, images).p <= 1


def test_score_draws_pictures(write_run):
    """Case 26: the same answers, each about its own picture, seem surer."""
    pairs = [("no", "yes")] * 8 + [("no", "no")] * 8
    alone = scores.card(write_run("alone", answers(pairs))).iloc[0]
    four = scores.card(write_run("four", answers(pairs, each=4))).iloc[0]
    assert (four.n, four.gain.value) == (alone.n, alone.gain.value) == (16, 0.5)
    for name in ("answer", "gain"):
        wide, narrow = getattr(four, name), getattr(alone, name)
        assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)
    assert (alone.p, four.p) == pytest.approx((2 / 2**8, 0.5))


def test_rates_of_yes_are_of_pictures_too(write_run):
    """Case 26: POPE asks six questions about each."""
    pairs = [("yes", "yes"), ("no", "yes"), ("no", "no"), ("yes", "no")] * 6
    same, apart = (
        {one.metric: one for one in scores.card(run).itertuples()}
        for run in (
            write_run("same", answers(pairs, each=6), "pope"),
            write_run("apart", answers(pairs), "pope"),
        )
    )
    for name in ("recall", "yes ratio"):
        assert same[name].answer.value == apart[name].answer.value
        assert same[name].answer != apart[name].answer


def test_tables_of_the_book_draw_pictures(write_run):
    """Case 26: reports, medians and diagnoses."""
    pairs = [("no", "yes"), ("yes", "no")] * 10 + [("no", "yes")] * 20
    boxed = {"size": 0.001, "coverage": 1.0}
    told = {}
    for name, each in (("alone", 1), ("shared", 10)):
        rows = [(*row[:4], boxed) for row in answers(pairs, each)]
        told[name] = results.table(write_run(name, rows))
    reports = estimates.report(told).set_index("run")
    assert (reports.loc["alone"] != reports.loc["shared"]).sum() >= 3
    ratios = {k: f.assign(ratio=np.arange(40.0), layer=0) for k, f in told.items()}
    alone, shared = (looking.ratio_by_layer(f)[0] for f in ratios.values())
    assert shared.high - shared.low > 1.5 * (alone.high - alone.low)
    found = {k: failures.diagnose(f) for k, f in told.items()}
    cells = [failures.readable({"x": f}, "fate", "x") for f in found.values()]
    assert not cells[0].equals(cells[1])


def test_runs_are_compared_question_by_question(write_run):
    """Case 26: `vicrop score A B`, such as three seeds of one run."""
    one = write_run("one", answers([("no", "no")] * 8))
    other = write_run("other", answers([("no", "yes")] * 6 + [("no", "no")] * 2))
    said = scored(one, str(other.folder))
    assert "against one" in said and "+75.0 [" in said
    [row] = scores.compared([one, other]).to_dict("records")
    assert (row["run"], row["n"], row["fixed"], row["broken"]) == ("other", 8, 6, 0)
    assert "against" not in scored(one)


# What is missing is said.


def test_score_of_an_unfinished_run_says_so(write_run):
    """Case 26: and case 18; on the screen and in every file."""
    run = write_run("a", answers([("no", "yes"), ("no", "no")]), asked=10)
    assert "a: 8 samples have no record yet: it is not finished" in scored(run)
    out = run.folder.parent / "out"
    assert pd.read_csv(out / "scores.csv")["missing"].tolist() == [8]
    assert json.loads((out / "scores.json").read_text())[0]["missing"] == 8
    assert "missing" in (out / "scores.md").read_text()


def test_score_says_in_words_how_many_samples_failed(write_run):
    """Case 26: a failed sample is in no mean."""
    failed = {"plain_score": None, "score": None, "error": "ValueError: x"}
    rows = answers([("no", "yes"), ("no", "no"), ("no", "no")])
    run = write_run("a", [*rows, ("x", "x.png", None, None, failed)])
    assert "a: 1 samples failed" in scored(run)
    assert scores.notes(scores.card(write_run("b", rows))) == []


def test_the_readme_says_how_many_samples_failed():
    """Case 26: beside n, which failed samples are not in."""
    one = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 30}
    model = {"model": "m", "plain": one, "gains": dict.fromkeys(readme.METHODS, one)}
    assert "| 30" in readme.table({"models": [model]})
    assert "30 (2 failed)" in readme.table({"models": [model | {"failed": 2}]})


# Wrong input to the statistics.

TABLE = pd.DataFrame({"score": [1.0, 0.0], "other": [0.0, 1.0]})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.accuracy(TABLE), r"DataFrame of shape \(2, 2\).*one column"),
        (lambda: stats.gain(TABLE, TABLE), "give one column"),
        (lambda: estimates.difference(TABLE, TABLE), "got DataFrame; give a table"),
        (lambda: stats.bootstrap(["yes", "no"]), "a number a sample, got list"),
        (lambda: stats.accuracy(["1", "0"]), "a number a sample, got list"),
        (lambda: stats.bootstrap([[1, 2], [3, 4]]), r"of shape \(2, 2\)"),
        (lambda: stats.accuracy(0.5), r"got float of shape \(\)"),
        (lambda: stats.accuracy([1.0, np.nan]), "1 of 2 values are missing.*dropna"),
        (lambda: stats.accuracy([1.0, None]), "1 of 2 values are missing.*dropna"),
        (lambda: stats.bootstrap([1.0, np.inf]), "1 of 2 values are missing or not"),
        (lambda: stats.accuracy([100, 0, 100]), "0 to 100; divide percentages by 100"),
        (lambda: stats.accuracy([1, 0], ["a.png"]), r"2 values have pictures of sh"),
        (lambda: stats.changes([0, 1], [0, 1, 1]), "same samples, got 2 and 3"),
    ],
)
def test_wrong_input_to_the_statistics_is_refused_with_advice(call, message):
    """Case 28: frames, texts, tables, percentages and gaps."""
    with pytest.raises(ValueError, match=message):
        call()


def test_no_samples_are_no_error_and_no_number():
    """Case 28: a group may be empty."""
    assert stats.accuracy([]) == stats.bootstrap([]) == stats.gain([], [])
    assert stats.accuracy([]).format() == "–"
    assert stats.changes([], []) == stats.Changes(0, 0, 1.0)


def test_scores_in_another_order_are_not_paired_by_place():
    one = pd.Series([1.0, 0.0], index=["a", "b"])
    with pytest.raises(ValueError, match="other ids; join the tables"):
        stats.gain(one, one[::-1])
    assert estimates.difference(one, one[::-1]).value == 0


def test_a_sample_that_stands_twice_is_not_paired():
    twice = pd.Series([1.0, 0.0], index=["a", "a"])
    with pytest.raises(ValueError, match="each id once"):
        estimates.difference(twice, twice)


def test_runs_on_other_data_are_not_compared(write_run):
    """Ids and questions may be the same there."""
    rows = answers([("no", "yes")] * 4)
    runs = [write_run("one", rows), write_run("other", rows, dataset="others")]
    assert scores.compared(runs).empty
    assert "against" not in scored(*[runs[0], str(runs[1].folder)])


def test_a_median_that_resampling_does_not_move_has_no_interval():
    found = stats.bootstrap([1.0] * 40 + [2.0], np.median)
    assert "no interval" in found.format()


def test_partial_scores_that_are_all_alike_have_no_interval():
    assert "no interval" in stats.accuracy([0.3] * 9).format()


def test_many_questions_about_a_single_picture_say_little():
    found = stats.accuracy([1, 0] * 10, ["a.png"] * 20)
    assert found.high - found.low > 0.8
    assert np.isnan(stats.gain([0] * 20, [1, 0] * 10, ["a.png"] * 20).low)


# Parameters.

PAGE = 'model = "tiny-llava"\ndevice, dtype = "cpu", "float32"\nlimit = 8  # samples\n'
PAGE += "layer = None\nshare = 0.9\nsave = False\nbatch_size: object = 1\nmodels = []"


def given(*cells, **values):
    """What the check says after these cells and papermill's."""
    added = "# Parameters\n" + "\n".join(f"{k} = {v!r}" for k, v in values.items())
    parameters.compare(parameters.assigned(cells), parameters.assigned([added]))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"modle": "llava"}, "unknown parameter 'modle'; did you mean 'model'?"),
        ({"dytpe": "float16"}, "did you mean 'dtype'"),
        ({"limits": 3}, "did you mean 'limit'"),
        ({"In": 3}, "unknown parameter 'In'; known: model, device"),
        ({"exit": 1}, "unknown parameter 'exit'"),
        ({"limit": "many"}, "parameter limit is 'many', expected int such as 8"),
        ({"limit": True}, "parameter limit is True, expected int"),
        ({"model": ["a"]}, r"parameter model is \['a'\], expected str"),
        ({"model": 2024}, "expected str such as 'tiny-llava'; papermill's -r"),
        ({"save": 1}, "parameter save is 1, expected bool such as False"),
        ({"models": "tiny-llava"}, "expected list such as"),
    ],
)
def test_parameters_that_a_page_does_not_have_are_refused(values, message):
    """Case 27: with the nearest name; and those of another type."""
    with pytest.raises(ValueError, match=message):
        given(PAGE, **values)


def test_parameters_of_a_page_are_taken():
    """Case 27: a float may be whole, and None or an annotation takes anything."""
    given(PAGE, model="x", dtype="bfloat16", limit=0, layer=3, share=1, save=True)
    given(PAGE, layer="last", batch_size="auto", models=["a"])


def test_check_reads_the_kernels_cells_whatever_else_ran_there(monkeypatch):
    """Case 27: cells are run again in another order, some are half written."""
    cells = ["", PAGE, "model = vlm(", "# Parameters\nlimit = 3", "import numpy as In"]
    shell = SimpleNamespace(history_manager=SimpleNamespace(input_hist_parsed=cells))
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    parameters.check()
    cells += ["# Parameters\nlimt = 3"]
    with pytest.raises(ValueError, match="did you mean 'limit'"):
        parameters.check()
    cells[-1:] = ["limit = 5", "model = vlm"]
    parameters.check()
    cells[:] = ["", "# Parameters\nlimt = 3"]  # alone, after a restart
    parameters.check()
    monkeypatch.setattr("IPython.get_ipython", lambda: None)
    parameters.check()


SOURCES = sorted(workflow.notebooks().glob("*.ipynb"))


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.stem)
def test_every_page_checks_its_parameters(file):
    """Case 27: by the same cell, right below them, which takes their defaults."""
    cells = nbformat.read(file, as_version=4).cells
    assert cells[2].source == "from workflow import parameters\n\nparameters.check()"
    defaults = parameters.assigned([cells[1].source])
    parameters.compare(defaults, defaults)
    assert defaults


@pytest.mark.slow
def test_papermill_stops_at_a_misspelt_parameter(tmp_path):
    """Case 27: `-p modle llava`; nothing is run."""
    command = ["papermill", "notebooks/run.ipynb", str(tmp_path / "out.ipynb")]
    said = subprocess.run(
        [sys.executable, "-m", *command, "-k", "python3", "-p", "modle", "llava"],
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert said.returncode == 1
    assert "unknown parameter 'modle'; did you mean 'model'?" in said.stderr


def test_a_value_that_a_run_does_not_take_is_told_in_a_line():
    """Case 27: not in pydantic's many."""
    with pytest.raises(ValueError, match="^parameter limit: .*got -3") as error:
        parameters.run_config({"limit": -3, "In": []})
    assert "\n" not in str(error.value)
    assert parameters.run_config({"limit": 3, "x": 1}) == RunConfig(limit=3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("siz=table2", "unknown key of --config 'siz'; did you mean 'size'?"),
        ("size=tabel2", "did you mean 'table2'?"),
    ],
)
def test_snakemake_stops_at_a_misspelt_setting(tmp_path, setting, message):
    """Case 27: instead of making the embedded size."""
    command = ["snakemake", "-n", "--nolock", "--cores", "1", "pages"]
    said = subprocess.run(
        [sys.executable, "-m", *command, "--config", setting],
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert said.returncode == 1
    assert message in said.stdout + said.stderr


def test_an_unknown_size_lists_the_known():
    """Case 27: and the nearest."""
    with pytest.raises(ValueError, match="did you mean 'embedded'.*known: .*table2"):
        matrix.chosen(MATRIX, "embeded")


@pytest.mark.parametrize("size", [None, 7, ["table2"]])
def test_a_size_that_is_no_text_is_refused_as_unknown(size):
    """As `--config size=`, `size=7` and `size=[table2]` are read."""
    with pytest.raises(ValueError, match="unknown size .* known: embedded"):
        matrix.chosen(MATRIX, size)


def test_small_numbers_keep_their_interval(rng):
    """Rounding that makes equal sums one must not make small ones equal."""
    values = rng.random(40)
    found, small = stats.bootstrap(values), stats.bootstrap(1e-7 * values)
    assert (1e7 * small.low, 1e7 * small.high) == pytest.approx(
        (found.low, found.high), rel=0.02
    )


def test_like_sizes_of_which_few_are_known_raise_no_warning():
    """A resample may draw one kind of answer only."""
    layer = pd.DataFrame(
        {
            "ratio": [1.0, 2, 3, 4, 5, 6],
            "answer": ["wrong", "right"] * 3,
            "size": 0.001,
            "image": ["a.png"] * 2 + ["b.png", "c.png", "d.png", "e.png"],
        }
    )
    layer.loc[0, "size"] = 0.002
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = looking.like_sized(layer, bins=1)
    assert found.n == 6 and found.low < found.value < found.high
