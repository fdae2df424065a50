import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import scaling
from analysis.scaling import Assumed, makespan

JOBS = st.lists(st.floats(0.1, 9), min_size=1, max_size=12)


@given(JOBS, st.integers(1, 5), st.floats(0, 1))
def test_makespan_is_that_of_a_clock_that_ticks(jobs, workers, every):
    """Twin: at each moment, the next job goes to the worker that has waited longest."""
    ends, now = [0.0] * workers, 0.0
    for seconds in jobs:
        number = min(range(workers), key=lambda one: ends[one])
        now = max(now, ends[number]) + every
        ends[number] = now + seconds
    assert makespan(jobs, workers, every) == pytest.approx(max(ends))


@given(JOBS, st.integers(1, 5))
def test_makespan_has_its_bounds(jobs, workers):
    end = makespan(jobs, workers)
    assert max(max(jobs), sum(jobs) / workers) - 1e-9 <= end
    assert end <= sum(jobs) / workers + max(jobs) + 1e-9
    assert makespan(jobs, 1) == pytest.approx(sum(jobs))


def test_shards_share_the_samples_and_each_has_a_start():
    found = scaling.shard_seconds(np.arange(10.0), 3, start=5)
    assert found.tolist() == [0 + 1 + 2 + 3 + 5, 4 + 5 + 6 + 5, 7 + 8 + 9 + 5]


@pytest.fixture
def found(tmp_path):
    told = {
        "machine": {},
        "methods": ["no-crop", "rel-att"],
        "questions": 4,
        "identical": True,
        "whole": {"seconds": 5.0, "samples": [1.0, 1.0, 1.0, 1.0]},
        "shards": [
            {"seconds": 5.0, "answering": 2.0},
            {"seconds": 6.0, "answering": 2.0},
        ],
        "merge_seconds": 0.5,
        "workflow_seconds": 17.5,
        "plan": {
            "size": "cluster",
            "runs": 196,
            "seconds": 7.0,
            "jobs": {
                "answers": 3,
                "whole": 2,
                "run_notebooks": 2,
                "scores": 1,
                "total": 8,
            },
        },
    }
    file = tmp_path / "sharded.json"
    file.write_text(json.dumps(told))
    return scaling.read(file)


def test_what_is_read_is_a_shards_start_and_the_workflows_own(found):
    assert found.start.tolist() == [3.0, 4.0]
    assert found.workflow == (17.5 - 11.0 - 0.5) / 3  # two shards and a merge
    rows = dict(scaling.overhead(found).itertuples(index=False))
    assert rows["start of a shard (Python, model, data)"] == "3.50"
    assert rows["merging 2 shards"] == "0.50"
    assert scaling.planned(found)["how many"].tolist() == [3, 2, 2, 1, 8]


def test_equal_samples_on_workers_without_costs_are_as_many_times_faster(found):
    found = scaling.Sharded(**{**vars(found), "merge": 0.0})
    case = Assumed("x", 1024, 3.0, start=0.0, every=0.0)
    frame = scaling.simulate(found, case, [1, 8, 64])
    assert frame["times faster"].tolist() == pytest.approx([1, 8, 64])
    assert frame["hours"].tolist() == pytest.approx(
        [3072 / 3600 / n for n in (1, 8, 64)]
    )
    assert frame["shards"].tolist() == [1, 32, 256]


def test_starts_and_submissions_cost(found):
    case = Assumed("x", 1024, 1.0, start=100.0, every=2.0)
    frame = scaling.simulate(found, case, [1, 8, 512])
    assert frame["efficiency"].is_monotonic_decreasing
    last = frame.iloc[-1]
    assert last["shards"] == 1024  # no more than there are questions
    assert last["hours"] * 3600 >= 1024 * 2  # one who hands out all jobs
    text = scaling.rounded(frame)
    assert text["efficiency"].str.endswith("%").all()


def test_measured_case_is_the_embedded_models(found):
    case = scaling.measured_case(found, 4)
    assert (case.answers, case.seconds, case.start) == (4, 1.0, 3.5)


def test_repositorys_own_measurement_is_read():
    assert scaling.read().identical
