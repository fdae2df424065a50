import json
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vicrop.scoring import normalise, upstream, vqa

VECTORS = json.loads(
    (Path(__file__).parent.parent / "golden" / "metric_vectors.json").read_text()
)
answers = st.sampled_from(
    ["yes", "Yes", "yes.", "a yes", "no", "red,white", "red white", "2", "two", "", "a"]
)
ten = st.lists(answers, min_size=10, max_size=10)


def slow_leave_one_out(said, labels):
    """The mean over the left-out label, label by label."""
    each = []
    for out in range(len(labels)):
        others = labels[:out] + labels[out + 1 :]
        each.append(min(1, sum(label == said for label in others) / 3))
    return sum(each) / len(each)


@given(labels=st.lists(st.sampled_from("ab"), min_size=1, max_size=14))
def test_leave_one_out_is_the_mean_over_left_out_labels(labels):
    got = vqa.leave_one_out(labels.count("a"), len(labels))
    assert got == pytest.approx(slow_leave_one_out("a", labels))


@pytest.mark.parametrize("matches", range(11))
def test_ten_labels_score_three_tenths_a_match(matches):
    assert vqa.leave_one_out(matches, 10) == min(1, 3 * matches / 10)


@given(said=answers, labels=ten)
def test_textvqa_is_the_plain_mean_of_normalised_texts(said, labels):
    normal = [normalise.m4c(label) for label in labels]
    plain = slow_leave_one_out(normalise.m4c(said), normal)
    assert vqa.textvqa(said, labels) == pytest.approx(plain)


@given(said=answers, labels=ten)
def test_visualqa_is_the_authors_for_ten_labels_that_differ(said, labels):
    assume(len(set(labels)) > 1)
    assert vqa.visualqa(said, labels) == upstream.vqa(said, labels)


@given(said=answers, label=answers)
def test_visualqa_normalises_nothing_where_all_labels_are_the_same(said, label):
    assert vqa.visualqa(said, [label] * 10) == float(said == label)


@pytest.mark.parametrize(
    "case",
    [case for case in VECTORS if "vqa_eval_score" in case],
    ids=lambda case: case["note"],
)
def test_visualqa_form_of_the_textvqa_vectors(case):
    got = vqa.visualqa(case["prediction"], case["labels"])
    assert 100 * got == pytest.approx(case["vqa_eval_score"])


@pytest.mark.parametrize("count", [1, 9, 11])
def test_textvqa_wants_exactly_ten_labels(count):
    with pytest.raises(ValueError, match=f"exactly ten labels, got {count}; keep all"):
        vqa.textvqa("nokia", ["nokia"] * count)
