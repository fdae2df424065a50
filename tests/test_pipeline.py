import numpy as np
import pytest
from PIL import Image

from vicrop import boxes, methods, pipeline
from vicrop.pipeline import ViCrop

QUESTION = "what digit is on the red plate?"


@pytest.fixture(scope="module")
def cropping(vlm):
    return ViCrop(vlm)


@pytest.mark.parametrize("method", methods.METHODS)
def test_every_method_answers_and_says_what_it_showed(cropping, view, scene, method):
    truth = [plate.box for plate in scene[0].plates]
    answer = cropping.answer(view, QUESTION, method, truth=truth, max_new_tokens=3)
    assert answer.plain == view.ask(QUESTION, max_new_tokens=3).plain
    assert (answer.box is None) == (method == "no-crop")
    assert (answer.amap is None) == (method in pipeline.CONTROLS)
    if answer.box is not None:
        again = view.ask(QUESTION, crop=answer.box, max_new_tokens=3)
        assert answer.text == again.text


def test_box_is_the_one_that_the_map_points_to(cropping, view):
    answer = cropping.answer(view, QUESTION, max_new_tokens=1)
    amap = view.importance(QUESTION)
    np.testing.assert_array_equal(answer.amap.values, amap.values)
    assert answer.box == boxes.select_box(amap, view.image.size, cropping.vlm.crop_px)


def test_image_may_be_given_instead_of_its_view(cropping, view, picture, tmp_path):
    picture.save(tmp_path / "a.png")
    answers = [
        cropping.answer(given, QUESTION, max_new_tokens=3)
        for given in (view, picture, tmp_path / "a.png", np.asarray(picture))
    ]
    assert {(one.text, one.plain, one.box) for one in answers} == {
        (answers[0].text, answers[0].plain, answers[0].box)
    }


def test_short_question_chooses_the_crop_and_the_question_is_answered(cropping, view):
    short = "blue plate"
    answer = cropping.answer(view, QUESTION, short_question=short, max_new_tokens=3)
    amap = view.importance(short)
    np.testing.assert_array_equal(answer.amap.values, amap.values)
    assert (amap.values != view.importance(QUESTION).values).any()
    assert answer.plain == view.ask(QUESTION, max_new_tokens=3).plain


@pytest.mark.parametrize("alias", methods.ALIASES)
def test_the_authors_keys_are_translated(alias):
    key = methods.ALIASES[alias]
    if key in methods.METHODS:
        assert methods.resolve(alias) == key
    else:
        with pytest.raises(ValueError, match=f"unknown method '{key}'"):
            methods.resolve(alias)


@pytest.mark.parametrize("method", ["relatt", "", "REL-ATT"])
def test_unknown_method_is_named_with_those_known(cropping, picture, method):
    with pytest.raises(ValueError, match=f"unknown method '{method}'; known: rel-att"):
        cropping.answer(picture, QUESTION, method)


HUMAN = pytest.mark.parametrize("method", ["human-crop", "human-crop-tight"])


@HUMAN
def test_human_crop_without_a_box_is_refused(cropping, view, method):
    with pytest.raises(ValueError, match="a human crop needs a ground-truth box"):
        cropping.answer(view, QUESTION, method)


@HUMAN
def test_human_crop_contains_all_boxes(cropping, view, scene, method):
    first, second = (plate.box for plate in scene[0].plates[:2])
    box = cropping.answer(view, QUESTION, method, truth=[first, second]).box
    assert boxes.coverage(box, first) == boxes.coverage(box, second) == 1
    alone = cropping.answer(view, QUESTION, method, truth=[first]).box
    assert boxes.area(alone) < boxes.area(box)


def test_human_crop_is_no_smaller_than_the_models_input_unless_tight(cropping, view):
    truth = [(200, 200, 220, 220)]
    wide, tight = (
        cropping.answer(view, QUESTION, method, truth=truth, max_new_tokens=1).box
        for method in ("human-crop", "human-crop-tight")
    )
    assert wide.width >= cropping.vlm.crop_px > tight.width >= 20


def test_full_twice_shows_the_whole_image_again(cropping, view):
    assert cropping.answer(view, QUESTION, "full-twice").box == (0, 0, 448, 448)


def test_random_crop_is_the_rngs(cropping, view):
    def box(seed):
        rng = np.random.default_rng(seed)
        answer = cropping.answer(
            view, QUESTION, "random-crop", rng=rng, max_new_tokens=1
        )
        return answer.box

    assert box(1) == box(1) != box(2)


def test_empty_question_is_refused_by_every_method(cropping, view):
    for method in ("rel-att", "no-crop", "center-crop"):
        with pytest.raises(ValueError, match="the question is empty"):
            cropping.answer(view, "  ", method)


def test_no_method_is_both_a_map_and_a_control():
    assert len(set(methods.METHODS)) == len(methods.METHODS)


def test_random_crop_lies_where_a_map_would(cropping, vlm):
    """A wide image of which the model sees the middle third."""
    image = Image.new("RGB", (900, 300), "teal")
    image.paste("navy", (400, 100, 500, 200))

    def middles(**how):
        view = vlm.look(image, **how)
        made = [
            sum(pipeline.random_crop(view, (), np.random.default_rng(seed))[::2]) / 2
            for seed in range(60)
        ]
        return min(made), max(made)

    exact, padded, upstream = (
        middles(**how) for how in ({}, {"fit": "pad"}, {"geometry": "upstream"})
    )
    assert exact[0] >= 299 and exact[1] <= 601
    assert padded == upstream and padded[0] < 150 and padded[1] > 750
