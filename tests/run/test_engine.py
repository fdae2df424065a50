"""What is shared between maps and answers: counted, and equal to nothing shared."""

import numpy as np
import pytest
import torch
import twins
from PIL import Image
from twins import prompt_of

from vicrop import methods
from vicrop.adapters import FAMILIES
from vicrop.adapters.cache import branch
from vicrop.adapters.decoder import Decoder
from vicrop.attribution import GENERAL_QUESTION
from vicrop.pipeline import ViCrop
from vicrop.run import datasets, loop
from vicrop.run.batches import cheapest_first
from vicrop.run.records import RunConfig
from vicrop.view import View, Views

KEYS = {
    "llava": "llava-1.5-7b",
    "instructblip": "instructblip-vicuna-7b",
    "qwen2.5-vl": "qwen2.5-vl-3b",
}
QUESTION = "what digit is on the red plate?"
OTHER = "is there a blue plate?"
BOX = (20, 10, 80, 70)
MAPS = ["rel-att", "grad-att", "pure-grad", "raw-att"]


@pytest.fixture(scope="module", params=KEYS)
def vlm(request):
    return twins.wrap(KEYS[request.param])


@pytest.fixture(scope="module")
def picture():
    noise = np.random.default_rng(1).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((120, 100))


@pytest.fixture
def passes(vlm, monkeypatch):
    """Tokens that each layer's attention was given, by layer, and tower calls."""
    counted = {"tokens": [0] * len(vlm.attention), "see": 0}

    def counting(layer):
        def count(module, args, kwargs):
            counted["tokens"][layer] += kwargs["hidden_states"].shape[1]

        return count

    handles = [
        module.register_forward_pre_hook(counting(layer), with_kwargs=True)
        for layer, module in enumerate(vlm.attention)
    ]
    facts = FAMILIES[vlm.family].facts
    see = facts.see

    def seeing(self, *args):
        counted["see"] += 1
        return see(self, *args)

    monkeypatch.setattr(facts, "see", seeing)
    yield counted
    for handle in handles:
        handle.remove()


def lengths(vlm, picture, question):
    """Tokens of a prompt's prefix and of its suffix."""
    words = vlm.words(question, [vlm.look_at([picture])])
    prefix = vlm.begin(words, vlm.look_at([picture])).ids.shape[1]
    return prefix, words.ids.shape[1] - prefix


def test_rel_att_and_plain_answer_run_each_token_once(vlm, picture, passes):
    prefix, asked = lengths(vlm, picture, QUESTION)
    other, general = lengths(vlm, picture, GENERAL_QUESTION)
    passes.update(tokens=[0] * len(vlm.attention), see=0)
    view = vlm.look(picture)
    view.importance(QUESTION)
    view.ask(QUESTION, max_new_tokens=1)
    # A connector reads the question, so that the general prompt has its own image.
    twice = other if vlm.family == "instructblip" else 0
    below = [prefix + asked + general + twice] * (vlm.layer + 1)
    above = [prefix + asked] * (len(vlm.attention) - vlm.layer - 1)
    assert passes == {"tokens": below + above, "see": 1}


def test_further_question_runs_its_own_words_alone(vlm, picture, passes):
    view = vlm.look(picture)
    view.importance(OTHER)
    prefix, asked = lengths(vlm, picture, QUESTION)
    passes.update(tokens=[0] * len(vlm.attention), see=0)
    view.importance(QUESTION)
    again = prefix if vlm.family == "instructblip" else 0
    tokens = [again + asked] * len(vlm.attention)
    assert passes == {"tokens": tokens, "see": 0}


def test_grad_att_adds_one_token_or_is_the_answers_pass(vlm, picture, passes):
    prefix, asked = lengths(vlm, picture, QUESTION)
    passes.update(tokens=[0] * len(vlm.attention), see=0)
    view = vlm.look(picture)
    view.importance(QUESTION, "grad-att")
    view.ask(QUESTION, max_new_tokens=1)
    last = 0 if vlm.family == "instructblip" else 1
    assert passes["tokens"] == [prefix + asked + last] * len(vlm.attention)
    assert passes["see"] == 1


def test_pure_grad_and_plain_answer_share_tower_and_prefix(vlm, picture, passes):
    prefix, asked = lengths(vlm, picture, QUESTION)
    other, general = lengths(vlm, picture, GENERAL_QUESTION)
    passes.update(tokens=[0] * len(vlm.attention), see=0)
    view = vlm.look(picture)
    view.importance(QUESTION, "pure-grad")
    view.ask(QUESTION, max_new_tokens=1)
    twice = other if vlm.family == "instructblip" else 0
    tokens = [prefix + asked + general + twice] * len(vlm.attention)
    assert passes == {"tokens": tokens, "see": 1}


def test_work_is_counted(vlm, picture):
    """Of rel-att: the image, two prompts, the crop and its words; and its tokens."""
    view, before = vlm.look(picture), vlm.work
    view.importance(QUESTION)
    view.ask(QUESTION, BOX, max_new_tokens=1)
    work = vlm.work - before
    crop = prompt_of(view, QUESTION, BOX)
    image = vlm.token_count(view.whole.seen)
    both = image + vlm.token_count(crop.seen[1])
    prefix, asked = lengths(vlm, picture, QUESTION)
    other, general = lengths(vlm, picture, GENERAL_QUESTION)
    again = vlm.family == "instructblip"
    assert work.passes == 4 + again
    assert work.image_tokens == both + again * image
    suffixes = asked + general + crop.suffix.shape[1]
    assert work.tokens == prefix + again * other + suffixes


@pytest.mark.parametrize("method", MAPS)
def test_answers_are_the_same_whatever_was_asked_before(vlm, picture, method):
    alone = vlm.look(picture).ask(QUESTION, BOX, max_new_tokens=6)
    view = vlm.look(picture)
    view.importance(QUESTION, method)
    assert view.ask(QUESTION, BOX, max_new_tokens=6) == alone


@pytest.mark.parametrize("method", MAPS)
def test_maps_are_the_same_whatever_was_asked_before(vlm, picture, method):
    alone = vlm.look(picture).importance(QUESTION, method).values
    view = vlm.look(picture)
    for other in MAPS:
        view.importance(OTHER, other)
        view.ask(QUESTION, BOX, max_new_tokens=2)
    after = view.importance(QUESTION, method).values
    apart = np.abs(after - alone).max() / (alone.max() - alone.min())
    assert apart <= 1e-4


def test_general_question_may_be_asked_itself(vlm, picture):
    """Its prefix may have been run to the map's layer only."""
    wanted = vlm.look(picture).ask(GENERAL_QUESTION, BOX, max_new_tokens=4)
    view = vlm.look(picture)
    view.importance(QUESTION)
    assert view.ask(GENERAL_QUESTION, BOX, max_new_tokens=4) == wanted


def test_graph_is_freed_once_the_map_is_made(vlm, picture):
    view = vlm.look(picture)
    for question in (QUESTION, OTHER):
        view.importance(question, "pure-grad")
        assert view.whole.seen.graph is None
        prompt = prompt_of(view, question)
        held = [prompt.first.scores, view.whole.seen.features, prompt.first.row]
        for layers in (prompt.prefix.cache.layers, prompt.first.cache.layers):
            held += [tensor for one in layers for tensor in (one.keys, one.values)]
        assert not any(tensor.requires_grad for tensor in held)


def end(vlm):
    """What the last layer does after attention, with each token by itself."""
    layer = vlm.text_model.layers[-1]
    return [layer.self_attn.o_proj, layer.mlp]


@pytest.mark.parametrize("method", [*MAPS, "rel-att-high", "pure-grad-high"])
def test_interrupted_question_can_be_asked_again(vlm, picture, method, monkeypatch):
    alone = vlm.look(picture).importance(QUESTION, method).values
    view, layer = vlm.look(picture), vlm.text_model.layers[1]
    own = layer.forward

    def interrupt(*args, **kwargs):
        monkeypatch.setattr(layer, "forward", own)
        raise KeyboardInterrupt

    configs = [module.config for module in vlm.attention]
    monkeypatch.setattr(layer, "forward", interrupt)
    with pytest.raises(KeyboardInterrupt):
        view.importance(QUESTION, method)
    assert all(m.config is c for m, c in zip(vlm.attention, configs, strict=True))
    assert not any("forward" in vars(module) for module in end(vlm))
    assert view.whole._seen is None or view.whole._seen.graph is None
    again = view.importance(QUESTION, method).values
    np.testing.assert_allclose(again, alone, rtol=1e-3, atol=1e-7)


def test_interrupted_deepening_of_a_prefix_is_done_again(vlm, picture, monkeypatch):
    """The general question asked itself, its prefix run to the map's layer only."""
    wanted = vlm.look(picture).ask(GENERAL_QUESTION, max_new_tokens=4)
    view, last = vlm.look(picture), vlm.text_model.layers[-1]
    view.importance(QUESTION)
    with monkeypatch.context() as broken:

        def interrupt(*args, **kwargs):
            raise KeyboardInterrupt

        broken.setattr(last, "forward", interrupt)
        with pytest.raises(KeyboardInterrupt):
            view.ask(GENERAL_QUESTION, max_new_tokens=4)
    assert view.ask(GENERAL_QUESTION, max_new_tokens=4) == wanted


def test_last_layer_of_a_prefix_computes_keys_and_values_alone(vlm, picture):
    ran, last = [], len(vlm.attention) - 1
    handle = vlm.text_model.layers[last].mlp.register_forward_hook(
        lambda *_: ran.append(1)
    )
    prompt = prompt_of(vlm.look(picture), QUESTION)
    vlm.attend([prompt], [last])
    handle.remove()
    assert ran == [] and prompt.prefix.cache.get_seq_length(last) > 0


# Decoding side by side.


@torch.no_grad()
def test_prompts_of_unequal_lengths_are_decoded_as_alone(vlm, picture, monkeypatch):
    """Of a prompt in the middle that ends first, too."""
    view = vlm.look(picture)
    asked = [(QUESTION, None), (f"{OTHER} {OTHER}", BOX), (OTHER, BOX)]
    firsts = [vlm.run([prompt_of(view, *one)])[0] for one in asked]
    lengths = [first.row.shape[-1] for first in firsts]
    assert len(set(lengths)) == 3
    alone = [vlm.decode([first], 6)[0] for first in firsts]
    assert len({tuple(answer) for answer in alone}) > 1
    assert vlm.decode(firsts, 6) == alone
    ends = {alone[1][2]}
    monkeypatch.setattr(Decoder, "end_ids", ends)
    cut = [vlm.decode([first], 6)[0] for first in firsts]
    assert len(cut[1]) <= 2 and vlm.decode(firsts, 6) == cut
    assert [first.cache.get_seq_length() for first in firsts] == lengths


def test_last_layer_runs_only_the_token_that_is_read(vlm, picture):
    prompt, rows = prompt_of(vlm.look(picture), QUESTION, BOX), []
    down = vlm.text_model.layers[-1].mlp.down_proj.register_forward_pre_hook(
        lambda module, given: rows.append(given[0].shape[1])
    )
    (first,) = vlm.run([prompt])
    down.remove()
    assert rows == [1]
    cache = branch(prompt.prefix.cache)  # the plain way
    hidden = vlm.hidden(prompt.suffix, cache, prompt.positions)
    scores = vlm.logits(hidden[:, -1])
    torch.testing.assert_close(first.scores, scores, rtol=1e-4, atol=1e-4)


# Views kept.


@pytest.fixture
def made(vlm, picture):
    """Makes views and keeps count."""
    views = []

    def make():
        views.append(View(vlm, picture))
        views[-1].ask(QUESTION, max_new_tokens=1)
        return views[-1]

    make.views = views
    return make


def held(made):
    return sum(view.held_bytes for view in made.views)


def test_views_are_bounded_and_the_one_used_longest_ago_is_closed(made):
    kept = Views(max_views=2)
    one, two = kept.get("1", made), kept.get("2", made)
    assert kept.get("1", made) is one
    kept.get("3", made)
    assert two.held_bytes == 0 and one.held_bytes > 0
    assert held(made) == 2 * one.held_bytes
    assert kept.get("1", made) is one and len(made.views) == 3
    kept.close()
    assert held(made) == one.held_bytes == 0


def test_old_view_is_closed_before_the_next_is_made(made):
    kept, before = Views(), []

    def make():
        before.append(held(made))
        return made()

    kept.get("1", make)
    kept.get("2", make)
    assert before == [0, 0]


@pytest.mark.parametrize("most", [0, -1])
def test_no_views_at_all_is_refused(most):
    with pytest.raises(ValueError, match=f"max_views is {most}, expected a whole num"):
        Views(most)


def test_file_asked_about_again_is_not_looked_at_again(vlm, picture, passes, tmp_path):
    file = tmp_path / "photo.png"
    picture.save(file)
    cropping = ViCrop(vlm)
    cropping.answer(file, QUESTION, "no-crop", max_new_tokens=1)
    cropping.answer(str(file), OTHER, "no-crop", max_new_tokens=1)
    assert passes["see"] == 1
    picture.transpose(Image.Transpose.ROTATE_180).save(file)
    cropping.answer(file, OTHER, "no-crop", max_new_tokens=1)
    assert passes["see"] == 2


# Runs.


def test_methods_whose_passes_others_can_use_come_first():
    order = sorted(methods.METHODS, key=cheapest_first)
    assert order[:2] == ["pure-grad", "grad-att"]


def count_pictures(monkeypatch, name, seen):
    own = getattr(Decoder, name)
    monkeypatch.setattr(
        Decoder,
        name,
        lambda self, given, **how: seen.extend(given) or own(self, given, **how),
    )


def test_runs_made_together_keep_the_order_of_their_files(
    write_data, row, results_folder, vlm, picture, monkeypatch
):
    """Two images, their questions not side by side; the costliest method is first."""
    rows = [
        row(id=str(n), image_path=f"{n % 2}.png", question=f"{QUESTION} {n}")
        for n in range(4)
    ]
    other = picture.transpose(Image.Transpose.ROTATE_90)
    folder = write_data(rows, [picture, other])
    seen = []
    for name in ("look_at", "look_apart"):
        count_pictures(monkeypatch, name, seen)
    configs = [
        RunConfig(
            model="tiny-llava", method=method, dataset=str(folder), max_new_tokens=2
        )
        for method in ("no-crop", "rel-att", "pure-grad")
    ]
    together = loop.run_together(configs, progress=False, vlm=vlm)
    # Both images, with their graphs, and every crop that was chosen: each once.
    chosen = {(r.question, r.box) for made in together for r in made.records() if r.box}
    assert len(seen) - 2 == len(chosen) >= 4
    for config, made in zip(configs, together, strict=True):
        records = list(made.records())
        assert made.folder.name == config.run_id
        assert [r.error for r in records] == [None] * 4
        alone = [
            loop.answer_one(
                vlm.look(folder / "images" / r_row["image_path"]), config, s
            )[0]
            for r_row, s in zip(rows, datasets.askable(config), strict=True)
        ]
        by_id = {record.id: record for record in records}
        assert {record.id: record for record in alone} == by_id


def test_pass_made_for_a_gradient_needs_no_second(vlm, picture):
    """Scores that the answer goes on from are those of a pass of its own."""
    (alone,) = vlm.run([prompt_of(vlm.look(picture), QUESTION)])
    for method in ("grad-att", "pure-grad"):
        view = vlm.look(picture)
        view.importance(QUESTION, method)
        (shared,) = vlm.run([prompt_of(view, QUESTION)])
        torch.testing.assert_close(shared.scores, alone.scores, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(shared.row, alone.row, rtol=1e-3, atol=1e-6)
