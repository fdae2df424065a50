"""Draw scenes of coloured plates, a character each, on textured backgrounds.

Owns what a scene is and how it becomes pixels; knows nothing of models or files.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFont

# All dark enough for a white character, and apart from each other when blurred.
COLORS = {
    "red": (205, 30, 40),
    "green": (20, 135, 50),
    "blue": (35, 65, 215),
    "orange": (240, 130, 10),
    "purple": (120, 40, 170),
    "black": (28, 28, 30),
    "pink": (235, 85, 165),
    "teal": (0, 155, 165),
}
DIGITS = tuple("0123456789")
LETTERS = tuple("ACFHKLTX")  # none that a small digit could be taken for
CHARS = DIGITS + LETTERS
TEXTURES = ("plain", "striped", "checked", "dotted")

_MASTER_PX = 320


@dataclass(frozen=True)
class Plate:
    """A square plate; ``left``, ``top`` and ``side`` in pixels of its scene."""

    left: int
    top: int
    side: int
    color: str
    char: str

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(left, top, right, bottom), right and bottom exclusive."""
        return (self.left, self.top, self.left + self.side, self.top + self.side)

    def inside(self, box: Sequence[float]) -> float:
        """Share of the plate's area that lies in ``box``."""
        width = min(self.left + self.side, box[2]) - max(self.left, box[0])
        height = min(self.top + self.side, box[3]) - max(self.top, box[1])
        return max(width, 0) * max(height, 0) / self.side**2


@dataclass(frozen=True)
class Scene:
    """What a picture shows: its (width, height), background and plates."""

    size: tuple[int, int]
    texture: str
    plates: tuple[Plate, ...]


@dataclass(frozen=True)
class SceneSpec:
    """How scenes of a data set are drawn.

    ``sizes`` are the (width, height) to choose from; a plate's side is log-uniform
    between ``side[0]`` and ``side[1]`` times the root of the image's area.
    """

    sizes: tuple[tuple[int, int], ...]
    side: tuple[float, float]
    plates: tuple[int, int] = (4, 6)
    period: tuple[float, float] = (0.05, 0.13)  # of the texture, over the same root


PLATES = SceneSpec(sizes=((448, 448),), side=(16 / 448, 160 / 448))
PLATES_HD = SceneSpec(
    sizes=((1344, 1344), (1120, 1680), (1680, 1120), (1056, 2112), (2112, 1056)),
    side=(40 / 1344, 560 / 1344),
    period=(0.02, 0.08),
)
# As many pixels as PLATES, of other shapes: 2:1, 16:9 and 3:2, lying and standing.
PLATES_WIDE = SceneSpec(
    sizes=((640, 320), (320, 640), (608, 342), (342, 608), (558, 372), (372, 558)),
    side=PLATES.side,
)

# A scene is its seed. The splits' ranges do not meet (a test checks it).
SPLIT_SEEDS = {"train": 0, "val": 10_000_000, "test": 20_000_000}
SEEDS_PER_SPLIT = 1_000_000


def scene_seed(split: str, index: int) -> int:
    """Seed of scene number ``index`` of a split.

    Raises:
        ValueError: for an unknown split or an index outside its range of seeds.
    """
    if split not in SPLIT_SEEDS:
        raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLIT_SEEDS)}")
    if not 0 <= index < SEEDS_PER_SPLIT:
        raise ValueError(f"scene {index} is outside 0 … {SEEDS_PER_SPLIT - 1}")
    return SPLIT_SEEDS[split] + index


def draw(spec: SceneSpec, seed: int) -> tuple[Scene, np.ndarray]:
    """The scene of ``seed`` and its (height, width, 3) uint8 pixels."""
    rng = np.random.default_rng(seed)
    scene = plan(spec, rng)
    root = math.sqrt(scene.size[0] * scene.size[1])
    period = log_uniform(rng, *spec.period) * root
    _, canvas = background(rng, scene.size, period, scene.texture)
    for plate in scene.plates:
        paste(canvas, plate, rng)
    canvas += rng.normal(0, 0.02, canvas.shape).astype(np.float32)
    return scene, to_uint8(canvas)


def plan(spec: SceneSpec, rng: Generator) -> Scene:
    """A random scene, not yet painted; colours and characters differ within it."""
    width, height = spec.sizes[rng.integers(len(spec.sizes))]
    root = math.sqrt(width * height)
    texture = TEXTURES[rng.integers(len(TEXTURES))]
    count = int(rng.integers(spec.plates[0], spec.plates[1] + 1))
    places: list[tuple[int, int, int]] = []
    while len(places) < count:  # rarely, the last plates find no room: start again
        sides = [round(log_uniform(rng, *spec.side) * root) for _ in range(count)]
        places = place(rng, sides, (width, height), gap=round(0.01 * root))
    colors, chars = rng.permutation(list(COLORS)), rng.permutation(CHARS)
    plates = tuple(
        Plate(left, top, side, str(color), str(char))
        for (left, top, side), color, char in zip(places, colors, chars, strict=False)
    )
    return Scene((width, height), texture, plates)


def to_uint8(canvas: np.ndarray) -> np.ndarray:
    """A canvas in [0, 1] as 8-bit pixels, clipped."""
    return (np.clip(canvas, 0, 1) * 255).astype(np.uint8)


def log_uniform(rng: Generator, low: float, high: float) -> float:
    """A draw whose logarithm is uniform: every octave is equally likely."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def background(
    rng: Generator, size: tuple[int, int], period: float, texture: str | None = None
) -> tuple[str, np.ndarray]:
    """A texture's name and a (height, width, 3) float32 canvas of soft, light greys.

    Args:
        rng: source of randomness.
        size: (width, height) in pixels.
        period: of the texture, in pixels.
        texture: one of ``TEXTURES``; None for a random one.
    """
    texture = texture or TEXTURES[rng.integers(len(TEXTURES))]
    grey = _upsample(rng.uniform(0.54, 0.80, (5, 5)), size, Image.Resampling.BICUBIC)
    grain = _upsample(
        rng.uniform(-0.04, 0.04, (24, 24)), size, Image.Resampling.BILINEAR
    )
    grain += rng.uniform(0.03, 0.07) * pattern(texture, rng, size, period)
    tints = [
        _upsample(rng.uniform(-0.04, 0.04, (5, 5)), size, Image.Resampling.BICUBIC)
        for _ in range(3)
    ]
    return texture, np.stack([grey + grain + tint for tint in tints], axis=-1)


def pattern(
    texture: str, rng: Generator, size: tuple[int, int], period: float
) -> np.ndarray:
    """(height, width) float32 in [-1, 1]: the regular part of a background."""
    width, height = size
    angle, phase = rng.uniform(0, math.pi), rng.uniform(0, 2 * math.pi, 2)
    if texture == "plain":
        return np.zeros((height, width), np.float32)
    turn, (cos, sin) = 2 * math.pi / period, (math.cos(angle), math.sin(angle))
    along = _wave(size, cos * turn, sin * turn, phase[0])
    if texture == "striped":
        return along
    across = _wave(size, -sin * turn, cos * turn, phase[1])
    if texture == "checked":
        return np.sign(along * across)
    return np.where(along + across > 1, np.float32(1), np.float32(-0.2))


def _wave(size: tuple[int, int], right: float, down: float, phase: float) -> np.ndarray:
    """(height, width) of sin(right x + down y + phase), by the sum of angles."""
    x = (right * np.arange(size[0])).astype(np.float32)
    y = (down * np.arange(size[1]) + phase).astype(np.float32)
    return np.outer(np.cos(y), np.sin(x)) + np.outer(np.sin(y), np.cos(x))


def _upsample(grid: np.ndarray, size: tuple[int, int], how: int) -> np.ndarray:
    """A small (rows, cols) grid, smoothly enlarged to (height, width)."""
    return np.asarray(Image.fromarray(grid.astype(np.float32)).resize(size, how)).copy()


def place(
    rng: Generator,
    sides: Sequence[int],
    size: tuple[int, int],
    gap: int,
    overhang: float = 0.0,
) -> list[tuple[int, int, int]]:
    """Room for squares that keep ``gap`` pixels apart, as (left, top, side).

    A square that finds no room in twelve tries is left out. With ``overhang`` it may
    leave the image by that share of its side.
    """
    found: list[tuple[int, int, int]] = []
    for side in sides:
        out = int(overhang * side)
        for _ in range(12):
            left = int(rng.integers(-out, size[0] - side + out + 1))
            top = int(rng.integers(-out, size[1] - side + out + 1))
            if all(
                left + side + gap <= x
                or x + s + gap <= left
                or top + side + gap <= y
                or y + s + gap <= top
                for x, y, s in found
            ):
                found.append((left, top, side))
                break
    return found


def paste(canvas: np.ndarray, plate: Plate, rng: Generator) -> None:
    """Draw a plate into a (height, width, 3) float canvas, clipped at its borders."""
    height, width = canvas.shape[:2]
    color = np.array(COLORS[plate.color], np.float32) / 255
    color = np.clip(color + rng.uniform(-0.05, 0.05, 3), 0, 1).astype(np.float32)
    ink = glyph(plate.char, plate.side)[..., None]
    drawn = color * (1 - ink) + 0.97 * ink
    left, top, right, bottom = plate.box
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    canvas[y0:y1, x0:x1] = drawn[y0 - top : y1 - top, x0 - left : x1 - left]


@cache
def glyph(char: str, side: int) -> np.ndarray:
    """(side, side) float32 coverage in [0, 1] of a character that fills a plate."""
    master = _master(char)
    how = Image.Resampling.BOX if side < _MASTER_PX // 2 else Image.Resampling.BICUBIC
    return np.asarray(master.resize((side, side), how), np.float32) / 255


@cache
def _master(char: str) -> Image.Image:
    # matplotlib ships the font, so that a scene does not depend on the system's.
    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    font = ImageFont.truetype(
        str(folder / "DejaVuSans-Bold.ttf"), int(_MASTER_PX * 0.98)
    )
    image = Image.new("L", (_MASTER_PX, _MASTER_PX), 0)
    pen = ImageDraw.Draw(image)
    left, top, right, bottom = pen.textbbox((0, 0), char, font=font)
    middle = ((_MASTER_PX - left - right) / 2, (_MASTER_PX - top - bottom) / 2)
    pen.text(middle, char, fill=255, font=font)
    return image


# What is asked about a scene, and how it is described.

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
