"""What tiny-instructblip is shown and asked, and what its queries are to say."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from embedded import features, questions
from embedded.curriculum import LEGIBLE_PX, Phase
from embedded.dense import IGNORE
from embedded.features import Pool, Shown
from embedded.fit import Schedule
from embedded.instructblip import QUERIES, WIDTH
from embedded.questions import Question
from embedded.scenes import CHARS, COLORS, TEXTURES, Plate, Scene
from vicrop.attribution import GENERAL_QUESTION

READ = Schedule(steps=600, batch=64, rate=1.2e-3, warmup=60, hold=0.5)
ANSWER = Schedule(steps=1500, batch=64, rate=1.2e-3, warmup=60, hold=0.45)
REFINE = Schedule(steps=700, batch=64, rate=8e-4, warmup=30, hold=0.2)
STAGES = {"read": READ, "answer": ANSWER, "refine": REFINE}
LATE = Phase(
    until=ANSWER.steps,
    small_first=True,
    describe=0.25,
    crops=0.25,
    pairs=0.35,
    color=0.0,
    varied=True,
)
PHASES = {
    "read": (
        Phase(until=250, smallest=LEGIBLE_PX, color=0.0),
        Phase(until=READ.steps, small_first=True, describe=0.3, color=0.0),
    ),
    "answer": (
        Phase(until=300, smallest=LEGIBLE_PX, color=0.0, varied=True),
        Phase(until=600, describe=0.4, color=0.0, varied=True),
        LATE,
    ),
    "refine": (replace(LATE, until=REFINE.steps, pairs=0.4),),
}
SHOWING = 0.6
"""Share of crops taken from among those that happen to show a whole plate: one blind
crop in six does, and what an empty one teaches is soon learnt. Which question is asked
stays without regard to the crop."""
ABSENT = 0.15
"""Share of questions, while reading, about a plate that is not there."""

NAMES = {
    "color": (*COLORS, "no"),
    "char": CHARS,
    "there": ("yes", "no"),
    "texture": TEXTURES,
}
"""What queries learn to name: words of the language model. "no" is no colour at all."""
NO_COLOR = len(COLORS)

Labels = dict[str, np.ndarray]
"""What each query is to say (queries,), by name; ids in ``NAMES`` or ``IGNORE``."""


@dataclass(frozen=True)
class Row:
    """An image, or a scene and its crop, and what is asked of it.

    Attributes:
        seen: (images, 1 + patches, width) of the vision tower.
        question: with its answer, and the plate it is about.
        labels: what the queries are to say of the (first) image.
    """

    seen: Tensor
    question: Question
    labels: Labels


def asked(phase: Phase, shown: Shown, scene: Scene, rng: Generator) -> Question:
    """One question about what is in view, or the general one."""
    plates = shown[1]
    if rng.random() < (phase.describe if plates else 0.5):
        return described(phase, shown, rng)
    if not plates:
        return questions.ask_absent(scene, rng)
    askable = [plate for plate in plates if plate.side >= phase.smallest] or plates
    if phase.small_first:
        askable = sorted(askable, key=lambda plate: plate.side)[:4]
    plate = askable[rng.integers(len(askable))]
    kind = str(rng.choice(list(phase.kinds), p=list(phase.kinds.values())))
    if kind == "exists" and rng.random() < 0.5:
        return questions.ask_absent(scene, rng)
    return questions.ask(kind, plate, rng)


def described(phase: Phase, shown: Shown, rng: Generator) -> Question:
    """The general question, and a description of what can be read."""
    texture, plates = shown
    legible = [plate for plate in plates if plate.side >= LEGIBLE_PX]
    text = questions.describe(texture, legible, rng if phase.varied else None)
    return Question("describe", GENERAL_QUESTION, text, None)


def asked_in_vain(question: Question, scene: Scene, rng: Generator) -> Question:
    """A question about a plate, turned to one that the scene does not show."""
    absent = questions.ask_absent(scene, rng)
    if question.kind not in ("digit", "letter"):
        return question
    color = next(color for color in COLORS if f" {color} " in absent.text)
    assert question.plate is not None
    text = question.text.replace(question.plate.color, color)
    return Question(question.kind, text, "", None)


def to_say(question: Question, shown: Shown) -> Labels:
    """What the queries are to say.

    Asked about a plate, all say its colour and character, or that it is not there. For
    a description each of the first eight looks for its own colour and says the
    character where that can be read; the others say the background's texture.
    """
    labels = {name: np.full(QUERIES, IGNORE) for name in NAMES}
    if question.kind == "describe":
        texture, plates = shown
        labels["texture"][len(COLORS) :] = TEXTURES.index(texture)
        labels["color"][: len(COLORS)] = NO_COLOR
        for plate in plates:
            if plate.side >= LEGIBLE_PX:
                _name(labels, NAMES["color"].index(plate.color), plate)
        return labels
    there = "no" if question.plate is None else "yes"
    labels["there"][:] = NAMES["there"].index(there)
    labels["color"][:] = NO_COLOR
    if question.plate is not None:
        _name(labels, slice(None), question.plate)
    return labels


def _name(labels: Labels, which: int | slice, plate: Plate) -> None:
    labels["color"][which] = NAMES["color"].index(plate.color)
    labels["char"][which] = NAMES["char"].index(plate.char)


class Supply:
    """Rows from a pool of tiny-llava's features.

    Layer-normalised, its patches are this model's. The class token, which the pool
    lacks, is another picture's: so the Q-Former learns to make nothing of it.

    Args:
        pool: the scenes.
        class_tokens: makes (pictures, width) last hidden states of class tokens; a
            function, as a training run that is over does without.
    """

    def __init__(self, pool: Pool, class_tokens: Callable[[], Tensor]):
        self.pool, self._class_tokens = pool, class_tokens

    @cached_property
    def tokens(self) -> Tensor:
        """Class tokens to choose from."""
        return self._class_tokens()

    @cached_property
    def showing(self) -> list[int]:
        """Scenes whose crop shows a whole plate."""
        return [
            number
            for number, (scene, crop) in enumerate(self.pool.scenes)
            if features.in_crop(scene, crop)
        ]

    def rows(
        self, phase: Phase, pairs: bool, count: int, rng: Generator, vain: float = 0.0
    ) -> list[Row]:
        """So many rows of scenes and crops, or of pairs of a scene and its crop.

        Args:
            phase: what is shown and asked.
            pairs: whether both are shown.
            count: of rows.
            rng: source of randomness.
            vain: share of questions about a plate that is not there.
        """
        return [self._row(phase, pairs, rng, vain) for _ in range(count)]

    def _row(self, phase: Phase, pairs: bool, rng: Generator, vain: float) -> Row:
        cropped = not pairs and rng.random() < phase.crops
        index = int(rng.integers(len(self.pool)))
        if (cropped or pairs) and rng.random() < SHOWING:
            index = self.showing[rng.integers(len(self.showing))]
        image, shown, scene = self.pool.show(index, cropped)
        question = asked(phase, shown, scene, rng)
        if rng.random() < vain:
            question = asked_in_vain(question, scene, rng)
        patches = (self.pool.features[index] if pairs else image[None]).float()
        first = self.tokens[rng.integers(0, len(self.tokens), len(patches))]
        seen = torch.cat([first[:, None], F.layer_norm(patches, (WIDTH,))], 1)
        return Row(seen, question, to_say(question, shown))
