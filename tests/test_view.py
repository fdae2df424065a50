import numpy as np
import pytest
from PIL import Image
from twins import prompt_of

from vicrop import attribution
from vicrop.adapters.decoder import Decoder
from vicrop.adapters.llava import Llava

QUESTION = "what digit is on the red plate?"
OTHER = "is there a blue plate in the image?"


@pytest.fixture
def fresh(vlm, picture):
    return vlm.look(picture)


@pytest.fixture
def calls(monkeypatch):
    """Counts calls of the vision tower and of the decoder's verbs."""
    counted = {}

    def count(owner, name):
        method = getattr(owner, name)

        def counting(self, *args, **kwargs):
            counted[name] = counted.get(name, 0) + 1
            return method(self, *args, **kwargs)

        monkeypatch.setattr(owner, name, counting)

    count(Llava, "see")
    for name in ("_fill_to", "_first", "attend", "decode"):
        count(Decoder, name)
    return counted


def test_image_is_encoded_once_for_all_questions_and_maps(calls, fresh):
    for question in (QUESTION, OTHER):
        fresh.ask(question, max_new_tokens=2)
        fresh.importance(question)
    assert (calls["see"], calls["_fill_to"]) == (1, 1)


def test_looking_alone_runs_nothing(calls, vlm, picture):
    vlm.look(picture)
    assert calls == {}


def test_plain_answer_of_a_question_is_kept(calls, fresh):
    first = fresh.ask(QUESTION, max_new_tokens=3)
    second = fresh.ask(QUESTION, crop=(0, 0, 90, 90), max_new_tokens=3)
    assert second.plain == first.plain == first.text
    assert calls["decode"] == 2


def test_answer_from_a_crop_is_said_once(calls, fresh):
    """Several methods may choose the same crop."""
    crops = [(0, 0, 90, 90), (0, 0, 90, 90), (0, 0, 91, 91)]
    first, again, _ = (fresh.ask(QUESTION, crop, max_new_tokens=3) for crop in crops)
    assert first == again and calls["decode"] == 3
    fresh.ask(QUESTION, crops[0], max_new_tokens=2)
    fresh.ask(OTHER, crops[0], max_new_tokens=3)
    assert calls["decode"] == 7


def test_general_map_is_kept_per_method(calls, fresh):
    fresh.importance(QUESTION)
    fresh.importance(OTHER)
    # Two questions, one general prompt.
    assert (calls["_first"], calls["attend"]) == (2, 1)
    fresh.importance(QUESTION, "raw-att")
    assert (calls["_first"], calls["attend"]) == (3, 1)


def test_map_and_plain_answer_come_from_one_pass(calls, fresh):
    fresh.importance(QUESTION)
    fresh.ask(QUESTION, max_new_tokens=3)
    for method in ("raw-att", "grad-att", "floor-att"):
        fresh.importance(QUESTION, method)
    assert calls == {"see": 1, "_fill_to": 1, "_first": 1, "attend": 1, "decode": 1}


def test_every_question_and_length_has_its_own_plain_answer(vlm, picture, fresh):
    asked = [(q, n) for n in (6, 2) for q in (QUESTION, OTHER, "what color ?")]
    kept = [fresh.ask(question, max_new_tokens=n).plain for question, n in asked]
    alone = [vlm.look(picture).ask(q, max_new_tokens=n).plain for q, n in asked]
    assert kept == alone
    assert len(set(kept)) > 3


def test_every_kind_of_map_divides_by_its_own_general_map(fresh, monkeypatch):
    flat = attribution.Attribution(
        lambda vlm, prompts: [np.ones((1, 12, 12), np.float32) for _ in prompts],
        attribution.paper.relative,
    )
    monkeypatch.setitem(attribution.MAPS, "flat", flat)
    first = fresh.importance(QUESTION).values
    assert (fresh.importance(QUESTION, "flat").values == 1).all()
    np.testing.assert_array_equal(fresh.importance(QUESTION).values, first)


def test_order_of_questions_does_not_matter(vlm, picture):
    one, two = vlm.look(picture), vlm.look(picture)
    first = one.importance(QUESTION).values
    one.ask(OTHER, crop=(10, 10, 90, 90), max_new_tokens=4)
    two.ask(OTHER, max_new_tokens=4)
    two.importance(OTHER)
    np.testing.assert_array_equal(two.importance(QUESTION).values, first)
    np.testing.assert_array_equal(one.importance(QUESTION).values, first)
    answers = [view.ask(QUESTION, crop=(5, 5, 60, 60)) for view in (one, two)]
    assert answers[0] == answers[1]


def test_answer_without_a_crop_is_the_plain_one(view):
    answer = view.ask(QUESTION, max_new_tokens=3)
    assert answer.text == answer.plain
    assert answer.box is None
    assert answer.visible == (0, 0, 448, 448)


def test_crop_can_change_the_answer(view):
    crops = [(x, x, x + 100, x + 100) for x in (0, 100, 200, 300)]
    answers = {view.ask(QUESTION, crop=crop, max_new_tokens=6).text for crop in crops}
    assert len(answers | {view.ask(QUESTION, max_new_tokens=6).plain}) > 1


@pytest.mark.parametrize("crop", [(0, 0, 449, 10), (-1, 0, 5, 5), (448, 9, 449, 20)])
def test_crop_that_leaves_the_image_is_refused(view, crop):
    with pytest.raises(ValueError, match="does not lie in an image of 448×448"):
        view.ask(QUESTION, crop=crop)


def test_importance_lies_over_what_the_model_sees(vlm):
    view = vlm.look(Image.new("RGB", (200, 80), "teal"))
    assert view.importance(QUESTION).region == (60, 0, 140, 80)


@pytest.mark.parametrize("method", ["no-crop", "rel_att"])
def test_unknown_map_is_named(view, method):
    with pytest.raises(ValueError, match=f"unknown map '{method}'"):
        view.importance(QUESTION, method)


def test_map_that_divides_by_nothing_is_refused(fresh, monkeypatch):
    nothing = np.zeros((1, 12, 12), np.float32)
    fresh.whole._general[attribution.paper.attention_to_image] = nothing
    with pytest.raises(ValueError, match="NaN or infinite.*divided by zero"):
        fresh.importance(QUESTION)


def test_held_bytes_are_features_and_cache(fresh):
    assert fresh.held_bytes == 0
    prompt = prompt_of(fresh, QUESTION)
    image = fresh.held_bytes
    assert image == (144 * 128 + 3 * 96 * 96) * 4
    fresh.ask(QUESTION, max_new_tokens=1)
    length = prompt.words.ids.shape[1]
    # layers · (keys, values) · tokens · width · float32, of the prefix and of it all
    assert fresh.held_bytes == image + 4 * 2 * (145 + length) * 128 * 4
    fresh.importance(OTHER)
    grown = prompt_of(fresh, OTHER).words.ids.shape[1]
    assert fresh.held_bytes == image + 4 * 2 * (145 + grown) * 128 * 4


def test_closed_view_holds_nothing_and_looks_again_when_asked(vlm, picture):
    with vlm.look(picture) as view:
        first = view.ask(QUESTION, max_new_tokens=3)
        amap = view.importance(QUESTION, "rel-att-high")
        assert view.held_bytes > 0
    assert view.held_bytes == 0
    assert view.ask(QUESTION, max_new_tokens=3) == first
    again = view.importance(QUESTION, "rel-att-high")
    np.testing.assert_array_equal(again.values, amap.values)


@pytest.mark.parametrize("size", [(1, 19_419), (38_838, 2)])
def test_image_that_is_all_length_is_refused(vlm, size):
    """To cut out its middle, more pixels would be made than are opened."""
    wanted = f"image of {size[0]}×{size[1]} .*more than 19418 times the other"
    with pytest.raises(ValueError, match=wanted):
        vlm.look(Image.new("RGB", size))
    vlm.look(Image.new("RGB", (19_418, 1)))


def test_pure_grad_ignores_detail_that_the_model_does_not_see(vlm, rng):
    """Noise in the margin that a centre crop cuts off moves no mask."""
    plain = Image.fromarray(rng.integers(0, 256, (96, 300, 3), dtype=np.uint8))
    cut = plain.copy()
    cut.paste((120, 120, 120), (0, 0, 102, 96))
    assert plain.crop((102, 0, 198, 96)) == cut.crop((102, 0, 198, 96))
    maps = [vlm.look(one).importance(QUESTION, "pure-grad") for one in (plain, cut)]
    np.testing.assert_array_equal(maps[0].values, maps[1].values)
    upstream = [
        vlm.look(one, geometry="upstream").importance(QUESTION, "pure-grad").values
        for one in (plain, cut)
    ]
    assert (upstream[0] != upstream[1]).any()
