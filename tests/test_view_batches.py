"""Batches of views: counted, and equal to each image by itself."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image
from plain_maps import FAMILIES, make
from twins import prompt_of

from vicrop import adapters, attribution, capture
from vicrop.adapters import cache as kept
from vicrop.attribution import GENERAL_QUESTION
from vicrop.view import Pictures, answer, describe, see

SIZES = [(140, 84), (60, 150), (112, 112), (140, 84)]
QUESTIONS = [
    "what digit is on the red plate?",
    "is there a blue plate?",
    "what color is the plate with a short letter on it in the image?",
    "what digit is on the red plate?",
]
BOXES = [(20, 10, 90, 70), (0, 60, 56, 150), (28, 28, 84, 84), (0, 0, 140, 84)]
REL = attribution.get("rel-att")


@pytest.fixture(scope="module", params=FAMILIES)
def vlm(request):
    return make(request.param)


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (len(SIZES), 3, 5, 3), dtype=np.uint8)
    return [
        Image.fromarray(pixels).resize(size)
        for pixels, size in zip(noise, SIZES, strict=True)
    ]


@pytest.fixture
def views(vlm, pictures):
    return [vlm.look(picture) for picture in pictures]


@pytest.fixture(scope="module")
def alone(vlm, pictures):
    """Each image's map and answer about a crop, from a fresh view."""
    fresh = cases([vlm.look(picture) for picture in pictures], BOXES)
    return [
        (view.importance(question).values, view.ask(question, box, 3))
        for view, question, box in fresh
    ]


def near(found, wanted):
    """Within 1e-4 of the wanted values' range, in their shape."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 1e-4 * np.ptp(wanted)


def same_first(found, wanted):
    assert found.row.shape[-1] == wanted.row.shape[-1]
    near(found.scores, wanted.scores)
    near(found.row, wanted.row)
    assert (found.place is None) == (wanted.place is None)
    assert found.place is None or torch.equal(found.place, wanted.place)
    pairs = zip(kept.tensors(found.cache), kept.tensors(wanted.cache), strict=True)
    for one, other in pairs:
        near(one, other)


def prompts_of(views, boxes):
    return [prompt_of(*case) for case in cases(views, boxes)]


def run_alone(vlm, pictures, boxes):
    """The plain way: a fresh view each, one by one."""
    views = [vlm.look(picture) for picture in pictures]
    return [vlm.run([prompt])[0] for prompt in prompts_of(views, boxes)]


def wholes(views):
    return [view.whole for view in views]


def cases(views, boxes):
    return list(zip(views, QUESTIONS, boxes, strict=True))


NONE = [None] * len(SIZES)
MIXED = [None, BOXES[1], None, BOXES[3]]


# Equal to one by one.


def test_images_are_seen_as_alone(vlm, pictures, views):
    see(wholes(views))
    if vlm.family == "qwen2.5-vl":
        assert len({view.whole.seen.grid for view in views}) > 2
    for view, picture in zip(views, pictures, strict=True):
        alone = vlm.look_at([picture])
        assert view.whole.seen.grid == alone.grid
        assert torch.equal(view.whole.seen.pixels, alone.pixels)
        near(view.whole.seen.features, alone.features)


@pytest.mark.parametrize("boxes", [NONE, BOXES, MIXED])
def test_prompts_are_run_as_alone(vlm, pictures, views, boxes):
    prompts = prompts_of(views, boxes)
    assert len({prompt.words.ids.shape[1] for prompt in prompts}) > 2
    vlm.run(prompts)
    wanted = run_alone(vlm, pictures, boxes)
    for prompt, alone in zip(prompts, wanted, strict=True):
        same_first(prompt.first, alone)


def test_rows_hold_no_padding(vlm, views):
    prompts = prompts_of(views, MIXED)
    vlm.run(prompts)
    for prompt in prompts:
        assert prompt.first.row.shape[-1] == prompt.words.ids.shape[1]
        sums = prompt.first.row.sum(-1)
        torch.testing.assert_close(sums, torch.ones_like(sums))
        assert (prompt.first.row > 0).all()


@torch.no_grad()
def test_prefixes_are_filled_as_alone(vlm, pictures, views):
    prompts = prompts_of(views, NONE)
    vlm.run(prompts)
    for prompt, picture in zip(prompts, pictures, strict=True):
        alone, found = filled(vlm, prompt.words, picture), prompt.prefix
        assert found.depth == alone.depth
        caches = kept.tensors(found.cache), kept.tensors(alone.cache)
        for one, other in zip(*caches, strict=True):
            near(one, other)
        assert (found.connector is None) == (alone.connector is None)
        if alone.connector is not None:
            near(found.connector, alone.connector)


def filled(vlm, words, picture):
    """A prefix that was run by itself."""
    seen = vlm.look_at([picture])
    prefix = vlm.begin(words, seen)
    vlm.run(vlm.follow([(words, [seen], prefix)]))
    return prefix


def test_prompt_about_several_pictures_may_be_among_them(vlm, pictures, views):
    pair = [pictures[0], pictures[3]]
    prompts = [
        prompt_of(views[1], QUESTIONS[1]),
        Pictures(vlm, pair).ask(QUESTIONS[2]),
    ]
    vlm.run(prompts)
    alone = [
        prompt_of(vlm.look(pictures[1]), QUESTIONS[1]),
        Pictures(vlm, pair).ask(QUESTIONS[2]),
    ]
    for prompt, other in zip(prompts, alone, strict=True):
        same_first(prompt.first, *vlm.run([other]))


def test_eager_attention_is_batched_too(pictures):
    vlm = make("llava")
    vlm.model.set_attn_implementation("eager")
    prompts = prompts_of([vlm.look(picture) for picture in pictures], MIXED)
    vlm.run(prompts)
    wanted = run_alone(vlm, pictures, MIXED)
    for prompt, alone in zip(prompts, wanted, strict=True):
        same_first(prompt.first, alone)


def test_half_precision_is_batched_too(vlm, pictures, views):
    """Equal to nothing: it rounds. But numbers, of the same kind as alone."""
    model = copy.deepcopy(vlm.model).bfloat16()
    half = adapters.wrap(model, vlm.processor, vlm.family, vlm.layer)
    views = [half.look(view.image) for view in views]
    describe(wholes(views), REL)
    prompts = prompts_of(views, MIXED)
    half.run(prompts)
    wanted = run_alone(half, pictures, MIXED)
    for prompt, alone in zip(prompts, wanted, strict=True):
        assert prompt.first.scores.dtype == alone.scores.dtype == torch.bfloat16
        assert prompt.first.scores.isfinite().all()
        sums = prompt.first.row.sum(-1)
        torch.testing.assert_close(sums, torch.ones_like(sums))


def test_general_maps_are_those_alone(vlm, pictures, views):
    describe(wholes(views), REL)
    for view, picture in zip(views, pictures, strict=True):
        alone = vlm.look(picture).whole
        describe([alone], REL)
        near(view.whole._general[REL.of_prompts], alone._general[REL.of_prompts])


@pytest.mark.parametrize("method", ["rel-att", "grad-att", "pure-grad", "floor-att"])
def test_maps_afterwards_are_those_alone(vlm, pictures, views, method):
    describe(wholes(views), attribution.get(method))
    vlm.run(prompts_of(views, NONE))
    for view, picture, question in zip(views, pictures, QUESTIONS, strict=True):
        alone = vlm.look(picture).importance(question, method)
        found = view.importance(question, method)
        assert found.region == alone.region
        near(found.values, alone.values)


def test_answers_are_those_alone_token_by_token(vlm, pictures, views, monkeypatch):
    monkeypatch.setattr(vlm.tokenizer, "decode", lambda tokens, **_: repr(tokens))
    asked = cases(views, BOXES)
    said = answer([(v, q, crop) for v, q, b in asked for crop in (None, b)], 6)
    alone = [
        answer([(vlm.look(picture), question, crop)], 6)[0]
        for (_, question, box), picture in zip(asked, pictures, strict=True)
        for crop in (None, box)
    ]
    assert said == alone
    for number, (view, question, box) in enumerate(asked):
        asked_again = view.ask(question, box, 6)
        pair = [asked_again.plain, asked_again.text]
        assert pair == said[2 * number : 2 * number + 2]
    assert len(set(said)) > 2  # else equality says little


def test_general_question_may_be_asked_itself(vlm, pictures, views):
    """Its prefix may have been run to the map's layer only."""
    describe(wholes(views), REL)
    answer([(view, GENERAL_QUESTION, None) for view in views], 4)
    for view, picture in zip(views, pictures, strict=True):
        wanted = vlm.look(picture).ask(GENERAL_QUESTION, max_new_tokens=4)
        assert view.ask(GENERAL_QUESTION, max_new_tokens=4) == wanted


# Counted.


@pytest.fixture
def calls(vlm, monkeypatch):
    """How often the vision tower, the language model and its last layer are called."""
    counted = {"tower": 0, "language": 0, "last": 0}

    def count(name):
        def add(*_):
            counted[name] += 1

        return add

    tower = next(
        module
        for name, module in vlm.model.named_modules()
        if name.endswith(("visual", "vision_model", "vision_tower"))
    )
    places = {
        "tower": tower,
        "language": vlm.text_model,
        "last": vlm.text_model.layers[-1],
    }
    handles = [
        module.register_forward_pre_hook(count(name)) for name, module in places.items()
    ]
    yield counted
    for handle in handles:
        handle.remove()


def test_all_is_run_once_for_all_images(vlm, views, calls):
    """A pass for the prefixes and one for what follows them, of either prompt."""
    describe(wholes(views), REL)
    general = 0 if vlm.family == "instructblip" else 1
    assert calls == {"tower": 1, "language": 2, "last": general}
    vlm.run(prompts_of(views, NONE))
    again = 1 if vlm.family == "instructblip" else 0
    assert calls["tower"] == 1 and calls["language"] == 3 + again
    for view, question in zip(views, QUESTIONS, strict=True):
        view.importance(question)
    assert calls["tower"] == 1 and calls["language"] == 3 + again
    answer(cases(views, BOXES), 1)
    # InstructBLIP's crops follow their images' queries, which were kept.
    assert calls["tower"] == 2 and calls["language"] == 4 + again
    for view, question, box in zip(views, QUESTIONS, BOXES, strict=True):
        view.ask(question, box, max_new_tokens=1)
    assert calls["tower"] == 2 and calls["language"] == 4 + again


def test_connector_that_reads_the_question_is_run_once_for_all(pictures):
    """Once for the images, once for their crops."""
    vlm, ran = make("instructblip"), []
    vlm.model.qformer.register_forward_hook(lambda *_: ran.append(1))
    answer(cases(map(vlm.look, pictures), BOXES), 1)
    assert len(ran) == 2


def test_connector_is_read_at_images_only(pictures, monkeypatch):
    """Where it looks in a crop, no map shows: there it keeps its own attention."""
    vlm, modules, trace_all = make("instructblip"), [], capture.trace_all
    monkeypatch.setattr(
        capture, "trace_all", lambda one: modules.append(one) or trace_all(one)
    )
    answer(cases(map(vlm.look, pictures), BOXES), 1)
    assert modules == [vlm.facts.connector.attention[vlm.connector_layer]]


def test_what_is_made_is_not_made_again(vlm, views, calls):
    prompts = prompts_of(views, NONE)
    describe(wholes(views), REL)
    vlm.run(prompts)
    answer(cases(views, NONE), 3)
    firsts, before = [prompt.first for prompt in prompts], dict(calls)
    see(wholes(views))
    describe(wholes(views), REL)
    vlm.run([*prompts, *prompts])
    answer(cases(views, NONE) * 2, 3)
    assert calls == before
    assert [prompt.first for prompt in prompts] == firsts


def test_the_same_several_times_is_made_once(vlm, views, calls):
    view, box = views[0], BOXES[0]
    other = (view, QUESTIONS[1], box)
    answer([(view, QUESTIONS[0], box), other, other, (view, "is it?", None)], 1)
    assert calls["tower"] == 2
    assert len(view._said) == 3


def test_one_and_none(vlm, pictures, views, calls):
    see([])
    describe([], REL)
    assert vlm.run([]) == answer([]) == []
    assert set(calls.values()) == {0}
    describe(wholes(views[:1]), REL)
    prompt = views[0].whole.ask(QUESTIONS[0])
    vlm.run([prompt])
    answer([(views[0], QUESTIONS[0], BOXES[0])], 4)
    alone = vlm.look(pictures[0])
    same_first(prompt.first, *vlm.run([prompt_of(alone, QUESTIONS[0])]))
    assert views[0].ask(QUESTIONS[0], BOXES[0], 4) == alone.ask(
        QUESTIONS[0], BOXES[0], 4
    )


@pytest.mark.parametrize("method", ["grad-att", "raw-att"])
def test_map_without_a_general_prompt_has_nothing_to_describe(views, method, calls):
    describe(wholes(views), attribution.get(method))
    assert set(calls.values()) == {0}


def test_gradients_are_described_one_by_one_and_their_graphs_freed(views, calls):
    """Seen at once; then each image's own graph, its prefix and what follows it."""
    each = len(views)
    describe(wholes(views), attribution.get("pure-grad"))
    assert calls == {"tower": 1 + each, "language": 2 * each, "last": 2 * each}
    for view, question in zip(views, QUESTIONS, strict=True):
        assert view.whole.seen.graph is None
        view.importance(question, "pure-grad")  # whose general prompt is known
    assert calls["tower"] == 1 + 2 * each and calls["language"] == 4 * each


@pytest.mark.parametrize("method", attribution.MAPS)
def test_one_image_is_neither_padded_nor_cut(vlm, pictures, method, monkeypatch):
    """One path for one and for many, on which one costs what it alone needs."""
    wanted = vlm.look(pictures[0]).importance(QUESTIONS[0], method).values
    said = vlm.look(pictures[0]).ask(QUESTIONS[0], BOXES[0], 3)
    monkeypatch.setattr(kept, "functional", None)
    monkeypatch.setattr(kept.Cut, "of", None)
    view = vlm.look(pictures[0])
    np.testing.assert_array_equal(view.importance(QUESTIONS[0], method).values, wanted)
    assert view.ask(QUESTIONS[0], BOXES[0], 3) == said


def test_repeated_map_costs_nothing_until_the_view_is_closed(vlm, pictures):
    view = vlm.look(pictures[0])
    maps = {
        method: view.importance(QUESTIONS[0], method) for method in attribution.MAPS
    }
    maps["rel-att-high"] = view.importance(QUESTIONS[0], "rel-att-high")
    view.importance(QUESTIONS[1])
    before = vlm.work
    for method, amap in maps.items():
        assert view.importance(QUESTIONS[0], method) is amap
    assert vlm.work == before
    view.close()
    view.importance(QUESTIONS[0])
    assert vlm.work != before


def test_nothing_kept_shares_memory_with_another_image(vlm, views):
    """Closing one view frees what it held."""
    prompts = prompts_of(views, NONE)
    vlm.run(prompts)
    for view, prompt in zip(views, prompts, strict=True):
        held = [view.whole.seen.features, prompt.first.scores, prompt.first.row]
        held += [view.whole.seen.pixels, *kept.tensors(prompt.first.cache)]
        held += kept.tensors(prompt.prefix.cache)
        if prompt.prefix.connector is not None:
            held.append(prompt.prefix.connector)
        for tensor in held:
            assert tensor.untyped_storage().nbytes() == tensor.nbytes


# What goes wrong.


def fail_at(monkeypatch, owner, name, number):
    """The memory runs out in the ``number``-th call, and in no other."""
    own, called = getattr(owner, name), []

    def failing(*args, **kwargs):
        called.append(1)
        if len(called) == number:
            raise torch.OutOfMemoryError("none left")
        return own(*args, **kwargs)

    monkeypatch.setattr(owner, name, failing)


PLACES = [
    *[("pixels", 1), ("pixels", 2), ("head", 1), ("head", 2), ("head", 3)],
    *[("layer", number) for number in range(1, 6)],
    *[("cut", 1), ("cut", 30), ("cut", 70)],
]


@pytest.mark.parametrize("halved", [False, True])
@pytest.mark.parametrize(("where", "number"), PLACES)
def test_memory_that_runs_out_leaves_nothing_wrong(
    vlm, views, alone, where, number, halved, monkeypatch
):
    """Whether the Views go on by themselves, or in smaller batches."""
    owner, name = {
        "pixels": (vlm.facts, "see"),
        "head": (vlm.head, "forward"),
        "layer": (vlm.text_model.layers[vlm.layer], "forward"),
        "cut": (kept.Cut, "of"),
    }[where]
    with monkeypatch.context() as patched:
        fail_at(patched, owner, name, number)
        with pytest.raises(torch.OutOfMemoryError, match="none left"):
            all_of_it(vlm, cases(views, BOXES))
    if halved:
        all_of_it(vlm, cases(views, BOXES)[:2])
        all_of_it(vlm, cases(views, BOXES)[2:])
    for (one, question, box), wanted in zip(cases(views, BOXES), alone, strict=True):
        near(one.importance(question).values, wanted[0])
        assert one.ask(question, box, 3) == wanted[1]


def all_of_it(vlm, asked):
    describe([view.whole for view, _, _ in asked], REL)
    vlm.run([prompt_of(view, question) for view, question, _ in asked])
    answer(asked, 3)


def test_views_of_two_models_are_refused(vlm, pictures, views):
    other = make("llava").look(pictures[0])
    with pytest.raises(ValueError, match="views of several models cannot be one batch"):
        see(wholes([views[0], other]))


def test_box_that_leaves_its_image_is_refused(views):
    with pytest.raises(ValueError, match="box"):
        answer([(views[0], QUESTIONS[0], (0, 0, 999, 999))])
    assert views[0]._said == {}
