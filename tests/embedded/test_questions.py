import numpy as np
import pytest

from embedded import models, questions, scenes
from embedded.scenes import CHARS, COLORS, TEXTURES, Plate, Scene
from vicrop.adapters.llava import prompt_text
from vicrop.attribution import GENERAL_QUESTION


@pytest.mark.parametrize("char", CHARS)
def test_a_character_is_a_digit_or_a_letter(char):
    assert questions.kind_of(char) == ("digit" if char.isdigit() else "letter")


@pytest.mark.parametrize("char", ["4", "K"])
@pytest.mark.parametrize("kind", ["read", "color", "exists"])
def test_answer_is_read_off_the_plate(rng, kind, char):
    plate = Plate(0, 0, 30, "teal", char)
    asked = questions.ask(kind, plate, rng)
    assert asked.plate is plate
    assert asked.answer == {"read": char, "color": "teal", "exists": "yes"}[kind]
    assert asked.answer not in asked.text.split()
    named = char if kind == "color" else "teal"
    assert named in asked.text.replace("?", "").split()
    assert asked.kind == {"read": questions.kind_of(char)}.get(kind, kind)


def test_every_wording_is_used(rng):
    plate = Plate(0, 0, 30, "red", "4")
    asked = {questions.ask("read", plate, rng).text for _ in range(40)}
    assert len(asked) == len(questions.WORDINGS["digit"])


def test_absent_colour_is_not_in_the_scene(rng):
    plates = tuple(
        Plate(0, 0, 30, color, char)
        for color, char in zip(list(COLORS)[1:], CHARS, strict=False)
    )
    asked = questions.ask_absent(Scene((99, 99), "plain", plates), rng)
    missing = next(iter(COLORS))
    assert asked.text == f"is there a {missing} plate in the image?"
    assert (asked.answer, asked.plate) == ("no", None)


def test_description_names_the_wall_then_plates_from_large_to_small():
    plates = [Plate(0, 0, 20, "red", "4"), Plate(50, 0, 40, "blue", "K")]
    assert questions.describe("dotted", plates) == "dotted wall . blue K . red 4"
    assert questions.describe("plain", []) == "plain wall"


def test_varied_description_says_the_same_in_another_order(rng):
    plates = [Plate(0, 0, 20, "red", "4"), Plate(50, 0, 40, "blue", "K")]
    told = [questions.describe("dotted", plates, rng) for _ in range(60)]
    parts = {"dotted wall", "red 4", "blue K"}
    assert all(set(text.split(" . ")) == parts for text in told)
    # The background comes first or last, the plates in either order.
    assert len(set(told)) == 4


def test_every_sentence_is_made_of_known_words():
    """Nothing that is asked or answered is ``<unk>`` to the tiny models."""
    said = [GENERAL_QUESTION]
    rng = np.random.default_rng(0)
    for color in COLORS:
        for char in CHARS:
            plate = Plate(0, 0, 30, color, char)
            for kind in ("read", "color", "exists"):
                asked = [questions.ask(kind, plate, rng) for _ in range(4)]
                said += [text for one in asked for text in (one.text, one.answer)]
    said += [questions.describe(t, [Plate(0, 0, 9, "red", "4")]) for t in TEXTURES]
    said.append(questions.ask_absent(Scene((9, 9), "plain", ()), rng).text)
    tokenizer = models.tokenizer()
    for text in set(said):
        ids = tokenizer(prompt_text(text))["input_ids"]
        assert tokenizer.unk_token_id not in ids, text


def test_scene_never_shows_all_colours():
    # So that there is always an absent one to ask about.
    for spec in (scenes.PLATES, scenes.PLATES_HD):
        assert spec.plates[1] < len(COLORS)
