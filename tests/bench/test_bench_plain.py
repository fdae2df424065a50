"""The yardstick makes the same maps and the same answers: only then is it one."""

import numpy as np
import pytest
import twins
from PIL import Image

from benchmarks import plain
from vicrop import boxes
from vicrop.pipeline import ViCrop
from vicrop.types import Box, Map

KEYS = ["llava-1.5-7b", "instructblip-vicuna-7b", "qwen2.5-vl-3b"]
QUESTION = "is there a blue plate with a single letter"


@pytest.fixture(scope="module", params=KEYS)
def pair(request):
    """A model under SDPA, and the same as the plain procedure has it."""
    return twins.wrap(request.param), plain.unfreeze(twins.wrap(request.param))


@pytest.fixture(scope="module")
def image():
    noise = np.random.default_rng(1).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((120, 100))


@pytest.mark.parametrize("method", plain.MAPS)
def test_plain_maps_are_ours(pair, image, method):
    vlm, eager = pair
    view = vlm.look(image)
    ours = view.whole.maps(QUESTION, method)[0]
    found = plain.MAPS[method](eager, image, QUESTION)
    assert found.shape == ours.shape and np.ptp(ours) > 0
    assert np.abs(found - ours).max() <= 1e-4 * np.ptp(ours)


@pytest.mark.parametrize("method", plain.MAPS)
def test_plain_answers_are_ours_token_by_token(pair, image, method):
    vlm, eager = pair
    said = ViCrop(vlm).answer(image, QUESTION, method, max_new_tokens=5)
    without, found = plain.answer(eager, image, QUESTION, method, 5)
    assert (vlm.text(without), vlm.text(found)) == (said.plain, said.text)
    assert plain.box(eager, image, QUESTION, method) == said.box


def test_plain_keeps_every_layers_attention_and_its_graph(pair, image):
    _, eager = pair
    found = plain.Attended(eager, image, QUESTION)
    assert found.row.requires_grad
    assert found.row.shape[-1] == found.row.shape[-2] == found.words.ids.shape[1]
    assert eager.text_model.config._attn_implementation == "eager"
    assert all(weight.requires_grad for weight in eager.model.parameters())


def test_no_hook_is_left(pair, image):
    _, eager = pair
    module = getattr(eager, "cross_attention", eager.attention[0])
    before = len(module._forward_hooks)
    plain.attention(eager, image, QUESTION)
    after = [
        hook
        for hook in module._forward_hooks.values()
        if hook.__module__.endswith("plain")
    ]
    assert after == [] and len(module._forward_hooks) - before <= 1  # transformers' own


# Its box search.


@pytest.mark.parametrize("seed", range(20))
def test_loops_choose_our_box(seed):
    rng = np.random.default_rng(seed)
    rows, cols = rng.integers(4, 25, 2)
    # Few levels, so that sums tie.
    values = rng.integers(0, 4, (rows, cols)).astype(float) + 0.5
    size = (int(rng.integers(100, 900)), int(rng.integers(100, 900)))
    amap = Map(values, (0, 0, *map(float, size)))
    assert plain.select_box(amap, size, 56) == boxes.select_box(amap, size, 56)


def test_of_equal_windows_the_leftmost_wins():
    values = np.zeros((6, 6))
    values[4, 0] = values[0, 3] = 1
    assert plain.best_window(values, (2, 2))[:2] == (3, 0)


def test_map_that_one_window_covers_gives_the_whole_image():
    amap = Map(np.ones((4, 4)), (0.0, 0.0, 50.0, 50.0))
    assert plain.select_box(amap, (50, 50), 56) == Box(0, 0, 50, 50)
