"""What is asked about a scene, and how it is described."""

from dataclasses import dataclass

from numpy.random import Generator

from embedded.scenes import COLORS, DIGITS, Plate, Scene

WORDINGS = {
    "digit": (
        "what digit is on the {color} plate?",
        "which digit does the {color} plate show?",
    ),
    "letter": (
        "what letter is on the {color} plate?",
        "which letter does the {color} plate show?",
    ),
    "color": ("what color is the plate with the {kind} {char}?",),
    "exists": ("is there a {color} plate in the image?",),
}
"""Wordings by kind. To answer, digit and letter look for a colour and read; color
reads to find; exists looks for a colour only."""


@dataclass(frozen=True)
class Question:
    """A question about a scene; ``plate`` is what it is about, None if not there."""

    kind: str
    text: str
    answer: str
    plate: Plate | None


def kind_of(char: str) -> str:
    """``digit`` or ``letter``."""
    return "digit" if char in DIGITS else "letter"


def ask(kind: str, plate: Plate, rng: Generator) -> Question:
    """A question whose answer is read off a plate."""
    what = kind_of(plate.char) if kind == "read" else kind
    wording = WORDINGS[what][rng.integers(len(WORDINGS[what]))]
    char_kind = kind_of(plate.char)
    text = wording.format(color=plate.color, char=plate.char, kind=char_kind)
    answers = {"color": plate.color, "exists": "yes"}
    return Question(what, text, answers.get(what, plate.char), plate)


def ask_absent(scene: Scene, rng: Generator) -> Question:
    """A question about a plate of a colour that the scene does not show."""
    shown = {plate.color for plate in scene.plates}
    color = str(rng.choice([color for color in COLORS if color not in shown]))
    text = WORDINGS["exists"][0].format(color=color)
    return Question("exists", text, "no", None)


def describe(texture: str, plates: list[Plate], rng: Generator | None = None) -> str:
    """A general description: the background, then the plates, largest first.

    With ``rng`` the plates are in random order, and the background comes first or last,
    so that its first word can be about anything in the picture.
    """
    ranked = sorted(plates, key=lambda plate: -plate.side)
    words = [f"{plate.color} {plate.char}" for plate in ranked]
    wall = [f"{texture} wall"]
    if rng is None:
        return " . ".join(wall + words)
    words = [words[number] for number in rng.permutation(len(words))]
    return " . ".join(wall + words if rng.random() < 0.5 else words + wall)
