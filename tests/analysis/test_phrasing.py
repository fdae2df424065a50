import pytest

from analysis import crops, looking, phrasing
from analysis.phrasing import CHOICE, LISTED, SHORT
from data_prep.originals.fields import ASK_LETTER, lettered
from vicrop import boxes
from vicrop.run import datasets


@pytest.fixture
def data(write_data, row, picture, scene):
    first, second = scene[0].plates[:2]
    rows = [
        row(id="a", labels=["3"], boxes=[first.box], meta={"kind": "digit"}),
        row(id="b", labels=["7"], boxes=[second.box], meta={"kind": "digit"}),
        row(id="c", labels=["red"], boxes=[second.box], meta={"kind": "color"}),
    ]
    return str(write_data(rows, [picture]))


def test_long_questions_are_written_as_the_real_data_are():
    choices = ["red", "dark blue", "teal"]
    made = phrasing.asked("Which?", choices)
    assert made[SHORT] == "Which?"
    assert made[CHOICE] == lettered("Which?", choices)
    assert made[CHOICE] == f"{made[LISTED]}\n{ASK_LETTER}"


def test_options_are_answers_to_such_questions_and_the_label_is_one(data, rng):
    known = phrasing.answers(data)
    assert known == {"digit": ["3", "7"], "color": ["red"]}
    sample = datasets.load(data)[0]
    digits = [str(n) for n in range(10)]
    for _ in range(20):
        made = phrasing.options(sample, digits, rng)
        assert len(set(made)) == 4 and "3" in made and set(made) <= set(digits)
    places = {phrasing.options(sample, digits, rng).index("3") for _ in range(60)}
    assert places == {0, 1, 2, 3}
    assert phrasing.options(sample, known["digit"], rng, count=2) in (
        ["3", "7"],
        ["7", "3"],
    )


def test_questions_are_the_same_every_time(data):
    samples = datasets.load(data)
    made = phrasing.asked_of(data, samples)
    assert made == phrasing.asked_of(data, samples)
    assert list(made) == ["a", "b", "c"]
    assert made["c"][LISTED].endswith("\n(A) red")


def test_crops_are_those_of_each_wordings_own_map(vlm, view, data):
    """The twin asks a view for each map, one by one."""
    samples = datasets.load(data)
    texts = phrasing.asked_of(data, samples)
    looked = looking.looks(vlm, data, samples)
    frame = phrasing.measure(vlm, data, looked, texts)
    expected = [
        (one.id, name, boxes.coverage(_crop(vlm, view, text), one.boxes[0]))
        for one in samples
        for name, text in texts[one.id].items()
    ]
    found = frame[["id", "name", "coverage"]].itertuples(index=False)
    assert [tuple(one) for one in found] == expected
    assert list(crops.hits(frame)) == [SHORT, LISTED, CHOICE]


def _crop(vlm, view, text):
    return boxes.select_box(view.importance(text), view.image.size, vlm.crop_px)
