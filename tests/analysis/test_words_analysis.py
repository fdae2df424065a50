"""Who looks: tokens and their roles, their ratios, and the variants of their map."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

import vicrop
import workflow
from analysis import crops, looking, probes, words
from embedded import cards
from vicrop.attribution import GENERAL_QUESTION
from vicrop.attribution.words import attention_of_words, own_words
from vicrop.run import datasets

QUESTION = "what digit is on the red plate?"


@pytest.fixture
def data(write_data, row, picture, scene):
    first, second = scene[0].plates[:2]
    rows = [
        row(id="a", boxes=[first.box], question=QUESTION),
        row(id="b", boxes=[second.box], question="is it blue?", labels=["nothing"]),
    ]
    return str(write_data(rows, [picture]))


def eager(vlm, view, question):
    """(layers, tokens behind the image, rows, cols) of the model's own weights."""
    prompt = view.whole.prompt(question)
    vlm.model.set_attn_implementation("eager")
    with torch.no_grad():
        output = vlm.model(
            input_ids=prompt.words.ids,
            pixel_values=prompt.seen[0].pixels,
            output_attentions=True,
        )
    vlm.model.set_attn_implementation("sdpa")
    span = prompt.prefix.span
    found = [a[0].mean(0)[span.stop :, span] for a in output.attentions]
    return torch.stack(found).numpy().reshape(len(found), -1, *prompt.grid)


def test_each_token_has_the_ratio_of_its_own_attention(vlm, data):
    samples = datasets.load(data)
    tokens = words.named(words.looks(vlm, data, samples)[0], {"red", "blue"})
    for sample, view in looking.views(vlm, data, samples):
        rows = eager(vlm, view, sample.question)
        mine = tokens[tokens["id"] == sample.id]
        assert len(mine) == rows.shape[0] * rows.shape[1]
        for _, one in mine.iterrows():
            amap = view.placed(rows[one["layer"], one["place"]])
            ratio = looking.attention_ratio(amap, sample.boxes[0], view.image.size)
            assert one["ratio"] == pytest.approx(ratio, rel=1e-4)
        table = words.of_question(tokens, sample.id)
        assert table.shape == rows.shape[1::-1]
        assert list(table.index) == mine[mine["layer"] == 0]["token"].tolist()
        named = mine[mine["role"] == words.NAME]["token"].unique()
        assert list(named) == ["red" if sample.id == "a" else "blue"]


def test_the_tokens_are_the_prompts_words(vlm, view):
    prompt = view.whole.prompt(QUESTION)
    told = words.texts(vlm, prompt)
    assert told[1:9] == "what digit is on the red plate ?".split()
    made = words.roles(told, own_words(vlm, prompt))
    assert [words.ROLES.index(one) for one in made] == [0, *[2] * 8, *[3] * 10, 4]
    named = words.named(pd.DataFrame({"token": told, "role": made}), {"red"})
    assert named.index[named["role"] == words.NAME].tolist() == [told.index("red")]


def test_a_prompt_without_a_frame_is_all_the_questions():
    made = words.roles(["what", "red"], slice(0, 2))
    assert made == [words.OTHER, words.END]


def test_maps_and_answers_are_the_views_own(vlm, data):
    samples = datasets.load(data)
    _, maps = words.looks(vlm, data, samples)
    for sample, view in looking.views(vlm, data, samples):
        for name in words.MAPS:
            one = words.of_map(maps, name).set_index("id").loc[sample.id]
            amap, size = view.importance(sample.question, name), view.image.size
            ratio = looking.attention_ratio(amap, sample.boxes[0], size)
            assert one["ratio"] == pytest.approx(ratio, rel=1e-5)
    assert set(words.of_map(maps, "rel-att", "wrong")["id"]) >= {"b"}


def test_queries_alone_are_the_connectors_mean(data):
    vlm = vicrop.load("tiny-instructblip")
    sample = datasets.load(data)[0]
    _, maps = words.looks(vlm, data, [sample])
    alone = words.of_map(maps, words.QUERIES)["ratio"].item()
    ((_, view),) = looking.views(vlm, data, [sample])
    rows = words.of_queries(view, sample.question)
    assert len(rows) == vlm.facts.connector.tokens
    mean, size = view.placed(rows.mean(0)), view.image.size
    ratio = looking.attention_ratio(mean, sample.boxes[0], size)
    assert alone == pytest.approx(ratio)


def test_medians_are_by_role_layer_and_answer():
    """Two wrong questions of two like tokens each, by hand."""
    rows = [
        (name, layer, words.OTHER, answer, ratio + layer)
        for name, answer, each in (
            ("a", "wrong", (1, 3)),
            ("b", "wrong", (5, 7)),
            ("c", "right", (90, 90)),
        )
        for ratio in each
        for layer in (0, 1)
    ]
    columns = ["id", "layer", "role", "answer", "ratio"]
    tokens = pd.DataFrame(rows, columns=columns).assign(image=lambda f: f["id"])
    made = words.by_role(tokens, "wrong")
    assert list(made) == [words.OTHER]
    assert [(one.value, one.n) for one in made[words.OTHER]] == [(4, 2), (5, 2)]


def test_summary_counts_right_and_wrong_apart():
    rows = [("a", "right", 2.0, 1.0), ("b", "wrong", 5.0, 1.0), ("c", "wrong", 7.0, 0)]
    maps = pd.DataFrame(rows, columns=["id", "answer", "ratio", "coverage"])
    maps = maps.assign(image=maps["id"], name="rel-att")
    made = crops.summary({"m": maps}).iloc[0]
    assert (made["model"], made["map"], made["n wrong"]) == ("m", "rel-att", 2)
    assert made["ratio, wrong"].startswith("6.0")
    assert made["object in the crop, %"].startswith("66.7")
    assert made["wrong ones', %"].startswith("50.0")


# Variants.


def slow_variants(about, general, own, own_general):
    """Variants by loops over layers, tokens and cells."""
    layers, _, rows, cols = about.shape

    def fold(q, g, join=sum, which=range(layers), pick=max):
        made = np.zeros((rows, cols))
        for y, x in np.ndindex(rows, cols):
            cut = [max(pick(q[n, :, y, x]) - pick(g[n, :, y, x]), 0) for n in which]
            made[y, x] = join(cut)
        return made

    def even(a):
        return np.array([[row / row.sum() for row in layer] for layer in a])

    half = layers // 2
    flat = [row for layer in about for row in layer]
    names = iter(words.VARIANTS)
    made = [
        fold(about, general),
        fold(about, general, join=max),
        fold(about, general, which=range(half)),
        fold(about, general, which=range(half, layers)),
        fold(about, general, pick=np.mean),
        fold(about[:, -1:], general[:, -1:]),
        fold(even(about), even(general)),
        fold(about, np.zeros_like(about)),
        max(flat, key=lambda row: row.max() / row.sum()),
    ]
    found = {next(names): values for values in made}
    found[words.OWN] = fold(about[:, own], general[:, own_general])
    return found


@pytest.mark.parametrize("key", ["tiny-llava-unmasked", "tiny-instructblip"])
def test_variants_are_what_loops_make(key, picture):
    vlm = vicrop.load(key)
    view = vlm.look(picture)
    texts = [QUESTION, GENERAL_QUESTION]
    prompts = [view.whole.prompt(text) for text in texts]
    both = [attention_of_words(vlm, [one])[0][0] for one in prompts]
    own = [own_words(vlm, one) for one in prompts]
    wanted = slow_variants(*both, *own)
    made = words.variant_maps(view, QUESTION)
    assert list(made) == list(wanted)
    for name, amap in made.items():
        slow = view.placed(np.asarray(wanted[name], np.float32)).values
        assert amap.values == pytest.approx(slow, rel=1e-4, abs=1e-7), name
    used = view.importance(QUESTION, "word-att").values
    assert made[words.BEST].values == pytest.approx(used, rel=1e-4, abs=1e-7)


def test_a_variant_that_points_nowhere_misses(vlm, view, data, monkeypatch):
    monkeypatch.setitem(words.VARIANTS, "largest layer", lambda q, g: 0 * g.max((0, 1)))
    assert "largest layer" not in words.variant_maps(view, QUESTION)
    table = pd.DataFrame({"id": ["a", "b", "a"], "name": ["x", "x", "y"]})
    table = table.assign(coverage=1.0, image=table["id"])
    assert crops.shares(table)["y"].value == 0.5


def test_the_page_chooses_among_variants_on_validation_scenes():
    """No test question has a part in the choice among them."""
    page = json.loads((workflow.notebooks() / "where_they_look.ipynb").read_text())
    code = "".join(line for cell in page["cells"] for line in cell["source"])
    assert code.count('table("variants")') == 1
    assert probes.VALIDATION == cards.VALIDATION
