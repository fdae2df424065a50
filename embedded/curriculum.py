"""The language model's curriculum, as data: how long, how fast, what is shown when."""

from dataclasses import dataclass

from embedded.fit import Schedule

LEGIBLE_PX = 44  # plates that a description names, and that are asked about first

ALIGN = Schedule(steps=200, batch=48, rate=2e-3, warmup=1)
LANGUAGE = Schedule(steps=1700, batch=24, rate=1.5e-3, warmup=50, hold=0.45)
DESCRIBE = Schedule(steps=300, batch=24, rate=6e-4, warmup=20, hold=0.2)
REFINE = Schedule(steps=700, batch=24, rate=8e-4, warmup=30, hold=0.2)
QWEN = Schedule(steps=700, batch=24, rate=8e-4, warmup=30, hold=0.3)


@dataclass(frozen=True)
class Phase:
    """What the language model is shown until a step.

    Attributes:
        until: step at which the phase ends.
        smallest: plates below this side (scene pixels) are not asked about.
        small_first: whether the four smallest plates are asked about, not any four.
        describe: share of scenes with a description among their turns.
        crops: share of scenes shown as a random crop only.
        pairs: share of batches of [scene, random crop of it].
        color: share of questions that name a character and ask for its plate's colour.
        varied: whether descriptions are in random order (see ``questions.describe``).
    """

    until: int
    smallest: int = 0
    small_first: bool = False
    describe: float = 0.5
    crops: float = 0.3
    pairs: float = 0.0
    color: float = 0.15
    varied: bool = False

    @property
    def kinds(self) -> dict[str, float]:
        """Shares of the kinds of question ("read": digit or letter)."""
        return {"read": 0.85 - self.color, "color": self.color, "exists": 0.15}


PHASES = {
    "language": (
        Phase(until=500, smallest=LEGIBLE_PX),
        Phase(until=900),
        Phase(until=1700, small_first=True, describe=0.3, pairs=0.3),
    ),
    # color was not learnt in the stage before, so it is dropped (see the model card).
    "refine": (Phase(until=700, small_first=True, describe=0.3, pairs=0.4, color=0.0),),
    # Descriptions that always begin with the background never look at plates with their
    # first token; rel-att, which divides by that look, then favours any large plate.
    "describe": (
        Phase(
            until=300,
            small_first=True,
            describe=1.0,
            crops=0.2,
            pairs=0.3,
            color=0.0,
            varied=True,
        ),
    ),
    # tiny-qwen2.5-vl goes on from tiny-llava: the same last stages, half as long.
    "qwen": (
        Phase(until=350, small_first=True, describe=0.3, pairs=0.4, color=0.0),
        Phase(
            until=700,
            small_first=True,
            describe=1.0,
            crops=0.2,
            pairs=0.4,
            color=0.0,
            varied=True,
        ),
    ),
}
LOOK_LATE = 0.5
"""Share of batches in which the question's words may not attend to the image, only the
last prompt token and the answer may: it makes the *last* token look, where the method
reads. A training mask only; without it, the model looks up at the question's words."""
