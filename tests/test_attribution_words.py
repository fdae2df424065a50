"""Maps by the question's words, against whole eager passes and plain loops."""

import numpy as np
import plain_maps
import pytest
from plain_maps import FAMILIES, QUESTION, close, noise

from vicrop import attribution, images
from vicrop.attribution import words

ASKED = [QUESTION, "is there a blue plate?", "Write a general description of it."]
SIZES = [(140, 84), (60, 150), (112, 112)]


@pytest.fixture(scope="module", params=FAMILIES)
def vlm(request):
    return plain_maps.make(request.param)


@pytest.fixture(scope="module")
def passes(vlm):
    return plain_maps.both_passes(vlm)


def importance(vlm, method):
    return vlm.look(noise()).importance(QUESTION, method).values


def asked_words(vlm, passed):
    """(first, last + 1) of the question's own tokens among all."""
    own = vlm.tokenizer(QUESTION, add_special_tokens=False)["input_ids"]
    starts = range(len(passed.ids) - len(own))
    (first,) = (n for n in starts if passed.ids[n : n + len(own)] == own)
    return first, first + len(own)


def test_word_att_is_what_words_see_more_of(vlm, passes):
    most = []
    for passed in passes:
        mean = passed.words().mean(1)
        most.append(np.max([mean[:, n] for n in range(mean.shape[1])], 0))
    wanted = sum(np.clip(q - g, 0, None) for q, g in zip(*most, strict=True))
    close(importance(vlm, "word-att"), wanted)


def test_layers_maps_are_of_every_layers_last_row(vlm, passes):
    question, general = (passed.words().mean(1)[:, -1] for passed in passes)
    each = [q / g for q, g in zip(question, general, strict=True)]
    close(importance(vlm, "mean-layers"), sum(each) / len(each))
    count = len(each)
    middle = [one / one.max() for one in each[count // 4 : count - count // 4]]
    assert count // 2 <= len(middle) < count
    wanted = middle[0]
    for one in middle[1:]:
        wanted = np.maximum(wanted, one)
    close(importance(vlm, "max-layers"), wanted)


def test_own_words_are_the_questions_and_no_others(vlm, passes):
    prompt = vlm.look(noise()).whole.prompt(QUESTION)
    own = words.own_words(vlm, prompt)
    behind = prompt.prefix.ids.shape[1]
    first, last = asked_words(vlm, passes[0])
    assert (own.start + behind, own.stop + behind) == (first, last)


@pytest.mark.parametrize("question", [*words.OTHERS, *ASKED, "Answer", "?"])
def test_own_words_are_told_from_the_prompts_whatever_is_asked(vlm, question):
    prompt = vlm.look(noise()).whole.prompt(question)
    own = words.own_words(vlm, prompt)
    behind = prompt.words.ids[0, prompt.prefix.ids.shape[1] :]
    alone = vlm.tokenizer(question, add_special_tokens=False)["input_ids"]
    assert letters(vlm, behind[own]) == letters(vlm, alone)


def letters(vlm, tokens):
    return vlm.tokenizer.decode(tokens).replace(" ", "")


def test_own_words_of_a_prompt_in_other_words_are_not_known(vlm):
    view = vlm.look(noise())
    prompt = view.whole.prompt(QUESTION)
    prompt.words.ids = prompt.words.ids.clone()
    prompt.words.ids[0, 0] = 5
    with pytest.raises(ValueError, match="not as this model's family writes it"):
        words.own_words(vlm, prompt)


def test_prefix_att_is_the_questions_words_less_the_prompts(vlm, passes):
    found, (first, last) = passes[0].words().mean((0, 1)), asked_words(vlm, passes[0])
    behind = passes[0].span[-1] + 1
    shares = [row / row.sum() for row in found]
    own, fixed = shares[first - behind : last - behind], shares[: first - behind]
    wanted = np.clip(sum(own) / len(own) - sum(fixed) / len(fixed), 0, None)
    close(importance(vlm, "prefix-att"), wanted)


def test_prompt_without_fixed_words_before_the_question_has_no_prefix_att():
    with pytest.raises(ValueError, match="prefix-att compares with fixed words"):
        words._over(np.ones((1, 4, 2, 2)), slice(0, 2))


def test_kv_similarity_is_the_cosine_of_values(vlm, passes):
    passed, (first, last) = passes[0], asked_words(vlm, passes[0])
    values, found = passed.values.detach().numpy(), np.zeros(len(passed.span))
    count = len(values)
    middle = values[count // 4 : count - count // 4]
    for layer in middle:
        for n, token in enumerate(passed.span):
            image = layer[token] / np.linalg.norm(layer[token])
            for word in layer[first:last]:
                found[n] += image @ word / np.linalg.norm(word)
    cells = (found / len(middle) / (last - first)) @ passed.step
    padded = np.pad(cells.reshape(passed.grid), 1, mode="edge")
    rows, cols = passed.grid
    wanted = [
        [padded[y : y + 3, x : x + 3].mean() for x in range(cols)] for y in range(rows)
    ]
    close(importance(vlm, "kv-similarity"), np.clip(wanted, 0, None))


# Batches and tiles.


def test_words_of_several_prompts_at_once_are_as_one_by_one(vlm):
    def prompts():
        looks = [vlm.look(noise(size, n)) for n, size in enumerate(SIZES)]
        pairs = zip(looks, ASKED, strict=True)
        return [view.whole.ask(question) for view, question in pairs]

    together = prompts()
    vlm.run(together, words=True)
    found = words.attention_of_words(vlm, together)
    assert len({one.shape for one in found}) > 1
    for one, prompt in zip(found, prompts(), strict=True):
        (alone,) = words.attention_of_words(vlm, [prompt])
        close(one, alone)
    for first, prompt in zip(vlm.run(together), prompts(), strict=True):
        (alone,) = vlm.run([prompt])
        close(first.scores.numpy(), alone.scores.numpy())


def test_words_are_read_on_the_plain_answers_own_pass(vlm):
    view = vlm.look(noise())
    view.importance(QUESTION, "word-att")
    before = vlm.work.passes
    view.importance(QUESTION, "mean-layers")
    assert vlm.work.passes - before <= 2  # the general prompt, and maybe its prefix
    before, said = vlm.work.passes, view.ask(QUESTION, max_new_tokens=1).plain
    assert vlm.work.passes == before
    assert said == vlm.look(noise()).ask(QUESTION, max_new_tokens=1).plain


@pytest.mark.parametrize("method", ["word-att", "local-heads", "kv-similarity"])
def test_joined_map_is_the_tiles_maps_side_by_side(vlm, method):
    """After a map whose prefixes hold fewer layers, which are then filled."""
    image = noise((1300, 600))
    fit = None if vlm.facts.fit == "native" else "squash"
    view, boxes = vlm.look(image, fit), images.tile(image.size).boxes
    view.importance(QUESTION, "rel-att-high")
    joined = view.importance(QUESTION, f"{method}-high").values
    alone = [vlm.look(image.crop(b), fit).importance(QUESTION, method) for b in boxes]
    assert len(alone) == view.tiles.cols == 2
    close(joined, np.hstack([one.values for one in alone]).astype(np.float32))


def test_maps_of_the_whole_image_are_not_made_tile_by_tile():
    for method in ("occlusion", "center-prior"):
        with pytest.raises(ValueError, match=f"{method} is of the whole image only"):
            attribution.split(f"{method}-high")
