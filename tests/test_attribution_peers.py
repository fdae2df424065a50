"""Peers' maps, against whole eager passes, output_attentions and plain loops."""

import numpy as np
import plain_maps
import pytest
import torch
from plain_maps import FAMILIES, QUESTION, close, noise

from vicrop import attribution, methods
from vicrop.attribution import peers


@pytest.fixture(scope="module", params=FAMILIES)
def vlm(request):
    return plain_maps.make(request.param)


@pytest.fixture(scope="module")
def passes(vlm):
    return plain_maps.both_passes(vlm)


def importance(vlm, method):
    return vlm.look(noise()).importance(QUESTION, method).values


def test_keys_are_in_one_order_wherever_they_stand():
    assert tuple(attribution.MAPS) == methods.MAPS
    assert len(methods.MAPS) >= 14
    assert set(methods.TILED) | set(methods.WHOLE) == set(methods.MAPS)
    assert {f"{key}-high" for key in methods.TILED} <= set(methods.METHODS)
    assert not {f"{key}-high" for key in methods.WHOLE} & set(methods.METHODS)


# Heads.


def test_every_heads_row_is_that_of_output_attentions(vlm, passes):
    prompt = vlm.look(noise()).whole.prompt(QUESTION)
    (found,) = peers.heads_to_image(vlm, [prompt], range(len(vlm.attention)))
    close(found[0], passes[0].words()[:, :, -1])


def slow_regions(lit):
    """Connected cells above 0, corners included, by walking from cell to cell."""
    left, regions = {tuple(cell) for cell in np.argwhere(lit)}, []
    while left:
        walk, region = [left.pop()], []
        while walk:
            y, x = walk.pop()
            region.append((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            walk += near
        regions.append(region)
    return regions


def slow_scatter(attention):
    lit = np.where(attention > attention.mean(), attention - attention.mean(), 0)
    total, entropy = lit.sum(), 0.0
    for region in slow_regions(lit):
        share = sum(lit[cell] for cell in region) / total
        entropy -= share * np.log(share)
    return bool(lit[-1].mean() >= lit.mean()), entropy


def slow_elbow(values):
    """The largest distance of a point from the line through the first and the last."""
    points = [np.array([n, value]) for n, value in enumerate(sorted(values))]
    chord = points[-1] - points[0]
    normal = np.array([-chord[1], chord[0]]) / np.hypot(*chord)
    return max(points, key=lambda point: abs(normal @ (point - points[0])))[1]


def test_spatial_entropy_and_elbow_are_the_plain_ones(rng):
    for n in range(30):
        attention = rng.random((5 + n % 3, 6)) ** 4
        found, wanted = peers.scatter(attention), slow_scatter(attention)
        assert found[0] == wanted[0] and found[1] == pytest.approx(wanted[1], abs=1e-9)
        values = rng.random(20) ** 3
        assert peers.elbow(values) == slow_elbow(values)


def test_cells_that_touch_at_a_corner_are_one_region():
    attention = np.zeros((4, 4))
    attention[0, 0] = attention[1, 1] = 1
    assert peers.scatter(attention) == (False, 0)
    attention[0, 3] = 2
    assert peers.scatter(attention) == pytest.approx(slow_scatter(attention))


def test_heads_that_look_everywhere_alike_or_at_the_bottom_come_last():
    bottom, even = np.zeros((4, 4)), np.full((4, 4), 0.5)
    bottom[3, 1] = 1
    assert peers.scatter(even)[0] and peers.scatter(bottom)[0]


def test_local_heads_are_the_three_of_lowest_entropy(vlm, passes):
    last = passes[0].words()[2:, :, -1]
    heads = list(last.reshape(-1, *passes[0].grid))
    edge = slow_elbow([head.sum() for head in heads])
    kept = [head for head in heads if head.sum() >= edge - 1e-7]
    kept.sort(key=lambda head: -head.sum())
    kept.sort(key=lambda head: (slow_scatter(head)[0], round(slow_scatter(head)[1], 6)))
    close(importance(vlm, "local-heads"), sum(kept[:3]))


def test_gaze_heads_are_the_chosen_ones(vlm, passes):
    last = passes[0].words()[:, :, -1]
    wanted = sum(last[layer, head] for layer, head in vlm.heads)
    close(importance(vlm, "gaze-heads"), wanted)


def test_gaze_heads_say_what_to_do_where_nobody_chose_any(vlm, monkeypatch):
    monkeypatch.setattr(vlm, "heads", ())
    with pytest.raises(ValueError, match="set vlm.heads to what analysis.looking.best"):
        importance(vlm, "gaze-heads")


# Gradients.


def cells_of(passed, found):
    """Of patches that a connector reads, class tokens come first."""
    count = passed.grid[0] * passed.grid[1]
    return found[0, -count:].detach()


def gradient(passed, score):
    (found,) = torch.autograd.grad(score, passed.features, retain_graph=True)
    return cells_of(passed, found)


def test_entropy_grad_is_the_gradient_of_the_entropy(vlm, passes):
    chances = passes[0].scores.softmax(-1)
    found = gradient(passes[0], -(chances * chances.log()).sum())
    wanted = np.array([float(row.square().sum().sqrt()) for row in found])
    close(importance(vlm, "entropy-grad"), wanted.reshape(passes[0].grid), 1e-3)


def test_grad_cam_weighs_channels_by_their_mean_gradient(vlm, passes):
    passed = passes[0]
    found = gradient(passed, passed.scores.log_softmax(-1).max())
    channels = [float(found[:, n].mean()) for n in range(found.shape[1])]
    features = cells_of(passed, passed.features)
    wanted = [max(0.0, float(row @ torch.tensor(channels))) for row in features]
    close(importance(vlm, "grad-cam"), np.reshape(wanted, passed.grid), 1e-3)


def test_a_graph_gives_the_plain_answer_that_there_is_without_it(vlm):
    view = vlm.look(noise())
    for method in ("entropy-grad", "grad-cam"):
        view.importance(QUESTION, method)
    assert view.ask(QUESTION, max_new_tokens=3) == vlm.look(noise()).ask(
        QUESTION, max_new_tokens=3
    )


# Sinks.


def test_narrow_models_have_no_sink(vlm):
    assert vlm.text_model.config.hidden_size < peers.SINK**2
    close(importance(vlm, "sink-free"), importance(vlm, "rel-att"))


def free_of_sinks(vlm, passed, edge):
    """The map's row without sinks and the heads that give them more than half."""
    hidden = passed.hidden[vlm.layer].detach().numpy()
    sinks = [np.abs(x).max() > edge * np.sqrt(np.mean(x**2)) for x in hidden]
    sinks = np.array(sinks)[passed.span]
    rows = passed.attentions[vlm.layer, :, -1, passed.span].detach().numpy()
    kept = [row * ~sinks for row in rows if row[sinks].sum() <= row.sum() / 2]
    assert sinks.sum() < len(sinks) and kept
    return ((sum(kept) / len(kept)) @ passed.step).reshape(passed.grid)


def edge_between(vlm, passed):
    """A height above which few of the image's tokens are."""
    hidden = passed.hidden[vlm.layer][passed.span].detach()
    heights = hidden.abs().amax(-1) / hidden.square().mean(-1).sqrt()
    least, most = heights.sort().values[-4:-2].tolist()
    return (least + most) / 2


def test_sinks_and_heads_that_look_at_them_are_left_out(vlm, passes, monkeypatch):
    edge, view = edge_between(vlm, passes[0]), vlm.look(noise())
    monkeypatch.setattr(peers, "SINK", edge)
    assert peers.sinks(vlm, view.whole.prompt(QUESTION)).any()
    question, general = (free_of_sinks(vlm, one, edge) for one in passes)
    wanted = np.divide(question, general, np.zeros_like(question), where=general > 0)
    found = importance(vlm, "sink-free")
    close(found, wanted)
    assert (found == 0).any() == (vlm.facts.connector is None)


def test_a_cell_that_only_the_question_looks_at_is_refused_as_rel_att_is():
    found = peers.relative_but_sinks(np.array([1.0, 0, 2]), np.array([0.0, 0, 4]))
    assert found.tolist() == [np.inf, 0, 0.5]


# Occlusion, and no model at all.


def cell_pixels(vlm, pixels, grid, cell):
    """Where a vision input's numbers are in one cell, by an input that is 1 there."""
    rows, cols = grid
    marked = torch.arange(1.0, pixels.numel() + 1, dtype=torch.float64)
    picture = vlm.facts.picture(marked.reshape(pixels.shape), grid)[0]
    high, wide = picture.shape[1] // rows, picture.shape[2] // cols
    y, x = cell[0] * high, cell[1] * wide
    inside = picture[:, y : y + high, x : x + wide].flatten().long() - 1
    return inside


def test_occlusion_is_what_a_grey_window_costs(vlm, passes):
    seen, grid = vlm.look_at([vlm.fitted(noise())]), passes[0].grid
    chances = passes[0].scores.detach().log_softmax(-1)
    prompt = vlm.look(noise()).whole.prompt(QUESTION)
    (found,) = peers.occlusion(vlm, [prompt])
    for row, col in [(0, 0), (1, 1), (grid[0] - 1, 1), (1, grid[1] - 1)]:
        pixels = seen.pixels.clone()
        for y in range(row - 1, row + 2):
            for x in range(col - 1, col + 2):
                if 0 <= y < grid[0] and 0 <= x < grid[1]:
                    inside = cell_pixels(vlm, pixels, grid, (y, x))
                    pixels.view(-1)[inside] = 0
        passed = plain_maps.run(vlm, QUESTION, noise(), pixels)
        left = passed.scores.detach().log_softmax(-1)[chances.argmax()]
        wanted = float(chances.max() - left)
        assert found[0, row, col] == pytest.approx(
            wanted, abs=1e-3 * float(np.ptp(found))
        )
    combined = attribution.MAPS["occlusion"].combine(found, None, [], grid)[0]
    assert (combined == np.clip(found[0], 0, None)).all()


def test_occluded_copies_come_in_batches(vlm, monkeypatch):
    own, counts = vlm.see, []

    def see(pixels, grid, count):
        counts.append(count)
        return own(pixels, grid, count)

    prompt = vlm.look(noise()).whole.prompt(QUESTION)
    monkeypatch.setattr(vlm, "see", see)
    monkeypatch.setattr(peers, "AT_ONCE", 7)
    (found,) = peers.occlusion(vlm, [prompt])
    cells = prompt.grid[0] * prompt.grid[1]
    assert counts == [7] * (cells // 7) + [cells % 7] * (cells % 7 > 0)
    monkeypatch.setattr(peers, "AT_ONCE", 16)
    close(peers.occlusion(vlm, [prompt])[0], found)


def test_center_prior_is_a_gaussian_and_asks_no_model(vlm):
    before, found = vlm.work.tokens, importance(vlm, "center-prior")
    assert vlm.work.tokens == before and found.dtype == np.float32
    rows, cols = found.shape
    for row, col in np.ndindex(rows, cols):
        y, x = (row + 0.5) / rows - 0.5, (col + 0.5) / cols - 0.5
        wanted = np.exp(-(y**2 + x**2) / (2 * 0.25**2))
        assert found[row, col] == pytest.approx(wanted, rel=1e-5)


# What is refused.


def test_a_map_of_zeros_is_refused(vlm, monkeypatch):
    def nothing(vlm, prompts):
        return [np.zeros((1, *prompt.grid), np.float32) for prompt in prompts]

    kind = attribution.Attribution(nothing, attribution.words.positive, False)
    monkeypatch.setitem(attribution.MAPS, "nothing", kind)
    with pytest.raises(ValueError, match="is zero everywhere"):
        importance(vlm, "nothing")


def test_all_heads_at_sinks_leave_no_map(vlm, monkeypatch):
    monkeypatch.setattr(
        peers,
        "sinks",
        lambda vlm, prompt: torch.ones(1, vlm.token_count(prompt.seen[0])).bool(),
    )
    with pytest.raises(ValueError, match="NaN"):
        importance(vlm, "sink-free")
