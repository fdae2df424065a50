import base64
import copy
import io
import json
import re
from collections import Counter
from html.parser import HTMLParser

import explored
import matplotlib
import numpy as np
import pytest
import torch
import twins
from PIL import Image

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402 (after the backend is chosen)

from analysis import explorer as package  # noqa: E402
from analysis import looking  # noqa: E402
from analysis.explorer import collect, page, sprites, store  # noqa: E402
from vicrop import boxes
from vicrop.run import datasets  # noqa: E402
from vicrop.types import Map  # noqa: E402

QUESTION = "what digit is on the red plate?"


@pytest.fixture
def saved():
    return explored.saved()


@pytest.fixture
def block(saved):
    return page.Explorer(saved)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


class Elements(HTMLParser):
    """All elements of a page, with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def all(self, name):
        return [attrs[name] for _, attrs in self.found if name in attrs]


def elements(*blocks):
    """What is in a page once the scripts of these blocks have filled it."""
    panels = []
    for text in blocks:
        given = text[text.index("\n})(") + 4 :]
        decode = json.JSONDecoder().raw_decode
        _, end = decode(given)
        panels.append(decode(given[end + 2 :])[0])
    return Elements("".join([*blocks, *panels]))


# On disk.


def test_what_is_saved_is_read_to_the_last_bit(saved, tmp_path):
    store.write(saved, tmp_path)
    again = store.read(tmp_path)
    assert again.index == saved.index
    assert list(again.index.said[0].crops) == list(saved.index.said[0].crops)
    assert again.images == saved.images
    assert again.arrays.keys() == saved.arrays.keys()
    for name, values in saved.arrays.items():
        assert again.arrays[name].dtype == np.float32
        assert np.array_equal(again.arrays[name], values)


def test_a_view_of_an_array_is_saved_as_it_looks(saved, tmp_path):
    name = store.key(0, "one", "question")
    turned = saved.arrays[name].transpose(0, 1, 3, 2)
    saved.arrays[name] = turned
    store.write(saved, tmp_path)
    assert np.array_equal(store.read(tmp_path).arrays[name], turned)


def test_saving_twice_gives_the_same_bytes(saved, tmp_path):
    for name in "ab":
        store.write(saved, tmp_path / name)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_nothing_saved_is_said_with_what_makes_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="analysis.explorer.saved makes it"):
        store.read(tmp_path)


def test_torn_files_are_refused_and_made_anew(saved, tmp_path):
    store.write(saved, tmp_path)
    file = tmp_path / store.ARRAYS
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match="delete it to make it anew"):
        store.read(tmp_path)
    assert store.matching(tmp_path, saved.index.made) is None


def test_only_what_was_made_alike_is_taken(saved, tmp_path):
    store.write(saved, tmp_path)
    assert store.matching(tmp_path, {"seed": 0}).index == saved.index
    assert store.matching(tmp_path, {"seed": 1}) is None


def test_answers_are_a_row_a_question_and_model(saved):
    table = saved.answers()
    assert len(table) == 4
    assert table["with rel-att"].tolist() == ["one rel-att", "other rel-att"] * 2
    assert table["right"].tolist() == ["4", "4", "", ""]
    assert saved.missed("one") == 1


# Sheets of maps.


def test_first_column_is_the_mean_and_the_others_are_the_heads(saved):
    said = explored.said(saved, 0, "one")
    heads = saved.array(said, "question")
    values = sprites.of_prompt(saved, said, "question").values
    assert values.shape == (4, 4, 4, 6)
    for layer in range(4):
        assert values[layer, 0] == pytest.approx(heads[layer].mean(0))
        for head in range(3):
            assert np.array_equal(values[layer, 1 + head], heads[layer, head])


def test_a_column_is_what_one_word_attends_to(saved):
    said = explored.said(saved, 0, "one")
    made = sprites.of_words(saved, said, [1, 3]).values
    assert made.shape == (2, 4, 4, 6)
    assert np.array_equal(made[1, 2], saved.array(said, "words")[3, 2])


def test_ratio_of_the_mean_divides_means(saved):
    said = explored.said(saved, 0, "one")
    question, general = (saved.array(said, name) for name in ("question", "general"))
    values = sprites.of_prompt(saved, said, "ratio").values
    for layer in range(4):
        plain = question[layer].mean(0) / general[layer].mean(0)
        assert values[layer, 0] == pytest.approx(plain)
        assert values[layer, 2] == pytest.approx(question[layer, 1] / general[layer, 1])


def test_a_cell_that_nobody_looks_at_in_general_has_no_ratio():
    about, described = np.ones((1, 2)), np.array([[0.0, 2.0]])
    assert sprites.relative(about, described).tolist() == [[0, 0.5]]


def test_maps_lie_where_the_model_sees_the_image(saved):
    region = sprites.of_prompt(saved, explored.said(saved, 0, "other"), "ratio").region
    assert region == (20, 0, 100, 80)  # the middle square of 120 × 80


def test_crops_and_ratios_are_those_of_each_map(saved):
    said = explored.said(saved, 0, "other")
    made = sprites.of_prompt(saved, said, "ratio")
    asked = saved.index.asked[0]
    for line in range(2):
        for column in range(3):
            amap = Map(made.values[line, column], made.region)
            crop = boxes.select_box(amap, asked.size, said.crop_px)
            ratio = looking.attention_ratio(amap, asked.boxes[0], asked.size)
            assert made.crops()[line][column] == crop
            assert made.ratios()[line][column] == ratio


def test_a_map_of_zeros_points_nowhere(saved):
    saved.arrays[store.key(0, "one", "question")][2, 1] = 0
    made = sprites.of_prompt(saved, explored.said(saved, 0, "one"), "question")
    assert made.crops()[2][2] is None and made.ratios()[2][2] is None
    assert made.crops()[2][1] is not None
    page.Explorer(saved)


def test_without_a_ground_truth_box_there_is_no_ratio(saved):
    assert (
        sprites.of_prompt(saved, explored.said(saved, 1, "one"), "ratio").ratios()
        is None
    )


def test_every_so_many_layers_and_the_maps_own():
    assert sprites.shown_layers(10, 5, 4) == [0, 4, 5, 8]
    assert sprites.shown_layers(3, 1, 1) == [0, 1, 2]


def test_sprite_is_what_a_loop_over_cells_paints(saved):
    values = sprites.of_prompt(saved, explored.said(saved, 0, "one"), "ratio").values
    with Image.open(io.BytesIO(sprites.sprite(values))) as file:
        assert file.mode == "P"
        pixels = np.asarray(file.convert("RGB"))
    viridis = matplotlib.colormaps["viridis"]
    lines, columns, rows, cols = values.shape
    assert pixels.shape == (lines * rows, columns * cols, 3)
    for line, column, row, col in np.ndindex(values.shape):
        one = values[line, column]
        level = round(255 * float(one[row, col]) / float(one.max()))
        painted = pixels[line * rows + row, column * cols + col]
        assert np.abs(painted - np.array(viridis(level, bytes=True)[:3], int)).max() < 4


def test_values_come_back_to_three_digits_however_small(saved):
    values = sprites.of_prompt(
        saved, explored.said(saved, 0, "one"), "question"
    ).values.copy()
    values[0, 0, 0, 0] = 1e-8 * values[0, 0].max()
    raw = np.frombuffer(base64.b64decode(sprites.packed(values)), "<f2").astype(float)
    peaks = values.max((2, 3), keepdims=True)
    again = raw.reshape(values.shape) / sprites.SCALE * peaks
    assert again == pytest.approx(values, rel=6e-4)


def test_peaks_are_at_their_places(saved):
    made = sprites.of_prompt(saved, explored.said(saved, 0, "one"), "ratio")
    for line, column in np.ndindex(made.places.shape):
        row, col = divmod(made.places[line, column], made.values.shape[3])
        assert made.values[line, column, row, col] == made.peaks[line, column]


# The block.


def test_ids_of_two_explorers_on_a_page_are_apart(block):
    other = page.Explorer(explored.saved(1))
    names = elements(block._repr_html_(), other._repr_html_()).all("id")
    assert len(names) > 20 and max(Counter(names).values()) == 1


def test_ids_of_the_same_explorer_shown_twice_are_apart(block):
    names = elements(block._repr_html_(), block._repr_html_()).all("id")
    assert max(Counter(names).values()) == 1


def test_the_same_maps_give_the_same_block(block):
    assert page.Explorer(explored.saved()).html() == block.html()


def test_its_text_is_the_same_every_time(block):
    assert repr(block) == "Explorer(2 questions, 2 models)"


def test_every_control_has_a_label(block):
    found = elements(block.html())
    labelled = set(found.all("for"))
    controls = [attrs for tag, attrs in found.found if tag in ("select", "input")]
    assert len(controls) == 9
    assert all(attrs["id"] in labelled for attrs in controls)
    for name in " ".join(found.all("aria-describedby")).split():
        assert name in found.all("id")


def test_texts_are_escaped(block):
    text = block.html()
    assert "<b>" not in text and 'document.title = "owned"' not in text
    assert "&lt;/script&gt;" in block.panel("a")  # in the list of questions
    assert [tag for tag, _ in elements(text).found].count("b") == 0
    assert len(re.findall("</?script", text)) == 2


def test_data_say_what_the_texts_said():
    told = json.loads(page.json_of({"text": explored.EVIL}))
    assert told == {"text": explored.EVIL}


def test_block_asks_for_nothing_remote(block):
    text = block.html()
    assert "http" not in text and "//cdn" not in text and "@import" not in text
    found = elements(text)
    urls = found.all("src") + found.all("href")
    assert all(url.startswith("data:") for url in urls)


def test_script_leaves_no_global_name(block):
    script = re.search(r"<script>(.*)</script>", block.html(), re.S)[1]
    assert script.startswith("((id, panel, data) => {") and "window." not in script


def test_too_large_a_block_says_what_to_do(saved, monkeypatch):
    monkeypatch.setattr(page, "MOST_BYTES", 10_000)
    with pytest.raises(ValueError, match="show fewer layers with every=4"):
        page.Explorer(saved)


def test_a_page_of_the_defaults_is_small_even_of_noise(monkeypatch, rng):
    """Four questions, three models of four layers and heads, maps of 12 × 12."""
    shape = {"fit": "squash", "layers": 4, "heads": 4, "grid": (12, 12)}
    monkeypatch.setattr(explored, "MODELS", dict.fromkeys("abc", shape))
    saved = explored.saved()
    noise = rng.integers(0, 256, (448, 448, 3), dtype=np.uint8)
    saved.images = [store.jpeg(Image.fromarray(noise))] * 2
    assert 2 * page.Explorer(saved).size < page.MOST_BYTES


def test_fewer_layers_make_a_smaller_block(saved, block):
    assert page.Explorer(saved, every=3).size < block.size


def test_figure_has_a_row_a_model(saved):
    drawn = page.figure(saved)
    names = [ax.get_xlabel() for ax in drawn.axes if ax.axison]
    assert names[:5] == ["layer 0", "layer 1 (map)", "layer 2", "layer 3"] + [
        "rel-att: “one rel-att”"
    ]
    assert [ax.get_ylabel() for ax in drawn.axes if ax.get_ylabel()] == ["one", "other"]


# With models.


@pytest.mark.parametrize(
    "key", ["llava-1.5-7b", "instructblip-vicuna-7b", "qwen2.5-vl-3b"]
)
def test_mean_over_heads_is_the_methods_attention(key, picture):
    small = {"max_pixels": 20 * 28 * 28} if key.startswith("qwen") else {}
    vlm = twins.wrap(key, **small)
    view = vlm.look(picture)
    heads = collect.by_head(vlm, view.whole.prompt(QUESTION))
    plain = looking.attention_by_layer(view, QUESTION)
    assert heads.shape[:1] + heads.shape[2:] == plain.shape
    assert heads.std(1).max() > 0
    assert heads.mean(1) == pytest.approx(plain, rel=1e-5)


def test_heads_are_those_of_an_eager_model(vlm, picture):
    eager = copy.deepcopy(vlm.model)
    eager.set_attn_implementation("eager")
    prompt = vlm.look(picture).whole.prompt(QUESTION)
    with torch.no_grad():
        output = eager(
            input_ids=prompt.words.ids,
            pixel_values=prompt.seen[0].pixels,
            output_attentions=True,
        )
    image = prompt.words.ids[0] == vlm.image_token_id
    for layer, rows in enumerate(output.attentions):
        plain = rows[0, :, -1, image].numpy()
        found = collect.by_head(vlm, prompt)[layer].reshape(plain.shape)
        assert found == pytest.approx(plain, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("key", ["llava-1.5-7b", "instructblip-vicuna-7b"])
def test_the_last_words_attention_is_the_mean_over_heads(key, picture):
    vlm = twins.wrap(key)
    view = vlm.look(picture)
    asked = store.Asked(id="a", question=QUESTION, size=picture.size)
    question = collect.Question(picture, asked, QUESTION)
    found = dict(collect._attention(view, question))
    assert found["words"][:, -1] == pytest.approx(found["question"].mean(1), rel=1e-4)
    said = collect._said(view, 0, key, question, {})
    assert len(said.tokens) == found["words"].shape[1]


@pytest.fixture
def asked(vlm, drawn, tmp_path):
    """Two questions put to a random model, and its folder."""
    samples = datasets.load(str(drawn))[:2]
    questions = [
        collect._question(s, Image.open(datasets.image_path(str(drawn), s)), str(drawn))
        for s in samples
    ]
    collect.save({"random": vlm}, questions, tmp_path / "maps", {})
    return store.read(tmp_path / "maps")


def test_rel_att_is_the_ratio_at_the_maps_layer(asked, vlm):
    said = explored.said(asked, 0, "random")
    ratio = sprites.of_prompt(asked, said, "ratio").values[vlm.layer, 0]
    assert ratio == pytest.approx(asked.amap(said, "rel-att").values, rel=1e-4)


def test_answers_and_crops_are_the_models_own(asked, vlm, drawn):
    for sample, question in enumerate(asked.index.asked):
        source = datasets.load(str(drawn))[sample]
        said = explored.said(asked, sample, "random")
        view = vlm.look(datasets.image_path(str(drawn), source))
        assert said.plain == view.ask(question.question).text
        for method, crop in said.crops.items():
            amap = view.importance(question.question, method)
            assert crop.box == boxes.select_box(amap, question.size, vlm.crop_px)
            assert crop.text == view.ask(question.question, crop.box).text


def test_saved_once_no_model_is_loaded_again(
    random_weights, drawn, tmp_path, monkeypatch
):
    given = dict(models=["tiny-llava"], dataset=str(drawn), wrong=1, right=0)
    first = package.saved(tmp_path / "maps", **given)
    monkeypatch.setattr(collect.adapters, "load", None)
    assert package.saved(tmp_path / "maps", **given).index == first.index
    with pytest.raises(TypeError):  # something else is asked for, so a model is needed
        package.saved(tmp_path / "maps", **given | {"wrong": 2})


def test_own_image_needs_no_data_set(random_weights, picture, tmp_path):
    picture.save(tmp_path / "photo.png")
    own = {"image": str(tmp_path / "photo.png"), "question": QUESTION}
    found = package.saved(tmp_path / "maps", ["tiny-llava"], **own)
    assert found.index.asked[0].size == picture.size
    assert found.missed("tiny-llava") == 0
    assert '"ratios":null' in package.Explorer(found).data


def test_misread_questions_are_chosen_by_the_models_own_answers(vlm, drawn):
    found = collect.choose(vlm, str(drawn), wrong=2, right=0)
    assert len(found) == 2
    for question in found:
        said = vlm.look(question.picture).ask(question.asked.question).text
        assert question.score(said) < 0.5
    with pytest.raises(ValueError, match="ask for more than 0"):
        collect.choose(vlm, str(drawn), wrong=0, right=0)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        package.nothing  # noqa: B018
