"""Stages 2 and 3: the projector and the language model, on the frozen tower's features.

The crops are drawn blind: uniformly placed, of a random side, knowing neither plates
nor questions.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm
from transformers import LlavaForConditionalGeneration

from vicrop.adapters.base import GENERAL_QUESTION
from vicrop.adapters.llava import prompt_text
from vicrop.tiny import dense, questions, scenes
from vicrop.tiny.fit import Schedule, Workers
from vicrop.tiny.models import GRID, IMAGE_PX, WORDS, tokenizer
from vicrop.tiny.scenes import COLORS, DIGITS, LETTERS, TEXTURES, Plate, Scene

SCENES = 12_000
CHUNK = 500
CROP_SIDE = (24, 260)  # log-uniform, pixels of the 448-pixel scene
SCENE_PX = scenes.PLATES.sizes[0][0]
LEGIBLE_PX = 44  # plates that a description names, and that are asked about first

ALIGN = Schedule(steps=200, batch=48, rate=2e-3, warmup=1)
LANGUAGE = Schedule(steps=1700, batch=24, rate=1.5e-3, warmup=50, hold=0.45)


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
    """

    until: int
    smallest: int = 0
    small_first: bool = False
    describe: float = 0.5
    crops: float = 0.3
    pairs: float = 0.0


PHASES = (
    Phase(until=500, smallest=LEGIBLE_PX),
    Phase(until=900),
    Phase(until=1700, small_first=True, describe=0.3, pairs=0.3),
)
KINDS = {"read": 0.7, "color": 0.15, "exists": 0.15}
"""Shares of the kinds of question ("read": digit or letter)."""
LOOK_LATE = 0.5
"""Share of batches in which the question's words may not attend to the image, only the
last prompt token and the answer may: it makes the *last* token look, where the method
reads. A training mask only; without it, the model looks up at the question's words."""

Shown = tuple[str, list[Plate]]
"""A texture and the plates that can be seen whole; sides as in a 448-pixel scene."""


# Features of the frozen tower, cached.


def random_crop(rng: Generator) -> tuple[int, int, int]:
    """(left, top, side) of a square placed blindly in a scene."""
    side = round(scenes.log_uniform(rng, *CROP_SIDE))
    left, top = rng.integers(0, SCENE_PX - side + 1, 2)
    return int(left), int(top), side


def pictures(index: int) -> tuple[Scene, tuple[int, int, int], np.ndarray]:
    """A training scene, its random crop's place, and both (2, 96, 96, 3) at 96 px."""
    seed = scenes.scene_seed("train", index)
    scene, pixels = scenes.draw(scenes.PLATES, seed)
    left, top, side = random_crop(np.random.default_rng((seed, 1)))
    whole = Image.fromarray(pixels)
    part = whole.crop((left, top, left + side, top + side))
    small = [
        np.asarray(image.resize((IMAGE_PX, IMAGE_PX), Image.BICUBIC))
        for image in (whole, part)
    ]
    return scene, (left, top, side), np.stack(small)


@torch.no_grad()
def cache_features(tower: nn.Module, folder: Path, workers: Workers) -> None:
    """Write float16 features of all training scenes and crops, in resumable chunks."""
    chunks = range(workers.rank, SCENES // CHUNK, workers.count)
    for chunk in tqdm(chunks, desc="features", disable=not workers.first):
        file = folder / f"features-{chunk:02d}.safetensors"
        if file.exists():
            continue
        made = [pictures(i) for i in range(chunk * CHUNK, (chunk + 1) * CHUNK)]
        parts = []
        for start in range(0, CHUNK, 25):
            pixels = np.concatenate([pixels for *_, pixels in made[start : start + 25]])
            ready = (torch.from_numpy(pixels).float() / 255 - 0.5) / 0.25
            seen = tower(pixel_values=ready.permute(0, 3, 1, 2)).last_hidden_state
            parts.append(seen[:, 1:].half().unflatten(0, (-1, 2)))
        part_file = file.with_suffix(".part")
        shown = torch.tensor([_numbers(scene, crop) for scene, crop, _ in made])
        save_file({"features": torch.cat(parts), "shown": shown}, part_file)
        part_file.replace(file)
    workers.wait()


class Pool:
    """Training scenes: features (scenes, 2, patches, width) and what they show."""

    def __init__(self, folder: Path):
        files = [
            safe_open(folder / f"features-{chunk:02d}.safetensors", "pt")
            for chunk in range(SCENES // CHUNK)
        ]
        self.features = torch.cat([file.get_tensor("features") for file in files])
        shown = torch.cat([file.get_tensor("shown") for file in files]).tolist()
        self.scenes = [_scene(numbers) for numbers in shown]

    def show(self, index: int, cropped: bool) -> tuple[Tensor, Shown, Scene]:
        """Features (patches, width) of a scene or its crop, and what is in view."""
        scene, crop = self.scenes[index]
        plates = in_crop(scene, crop) if cropped else list(scene.plates)
        return self.features[index, int(cropped)], (scene.texture, plates), scene


_MOST = scenes.PLATES.plates[1]


def _numbers(scene: Scene, crop: tuple[int, int, int]) -> list[int]:
    """A scene and its crop as a fixed number of integers."""
    plates = [
        (p.left, p.top, p.side, dense.COLOR_IDS[p.color], dense.CHAR_IDS[p.char])
        for p in scene.plates
    ]
    plates += [(-1,) * 5] * (_MOST - len(plates))
    flat = [number for plate in plates for number in plate]
    return [dense.TEXTURE_IDS[scene.texture], *crop, *flat]


def _scene(numbers: list[int]) -> tuple[Scene, tuple[int, int, int]]:
    """What ``_numbers`` wrote."""
    texture, left, top, side, *flat = numbers
    colors, chars = list(COLORS), scenes.CHARS
    plates = tuple(
        Plate(*flat[n : n + 3], colors[flat[n + 3]], chars[flat[n + 4]])
        for n in range(0, len(flat), 5)
        if flat[n] >= 0
    )
    scene = Scene((SCENE_PX, SCENE_PX), TEXTURES[texture], plates)
    return scene, (left, top, side)


def in_crop(scene: Scene, crop: tuple[int, int, int]) -> list[Plate]:
    """Plates that a crop shows whole, their sides as if the crop were a scene."""
    left, top, side = crop
    box = (left, top, left + side, top + side)
    return [
        Plate(p.left, p.top, round(p.side * SCENE_PX / side), p.color, p.char)
        for p in scene.plates
        if p.inside(box) >= 0.95
    ]


# Stage 2: each patch names what it shows.


class Naming(nn.Module):
    """Projector and a word table: a patch is near the words of what it shows."""

    def __init__(self, projector: nn.Module, width: int):
        super().__init__()
        self.projector = projector
        self.words = nn.Embedding(len(WORDS), width)
        nn.init.normal_(self.words.weight, std=0.09)

    def loss_on(self, pool: Pool):
        """The stage's loss over a pool, as ``fit`` wants it."""
        names = {
            "color": _ids(COLORS),
            "char": _ids((*DIGITS, *LETTERS)),
            "texture": _ids(TEXTURES),
        }

        def loss(step: int, rng: Generator):
            chosen = rng.integers(0, SCENES, ALIGN.batch)
            features = torch.stack([pool.features[i, 0] for i in chosen]).float()
            labels = [_patch_labels(pool.scenes[i][0]) for i in chosen]
            shown = self.projector(features)
            shown = shown / shown.pow(2).mean(-1, keepdim=True).sqrt()
            total = torch.zeros(())
            for name, ids in names.items():
                wanted = torch.from_numpy(np.stack([label[name] for label in labels]))
                logits = (shown @ self.words.weight[ids].T).flatten(0, 1)
                share = 0.3 if name == "texture" else 1.0
                total = total + share * F.cross_entropy(logits, wanted.flatten())
            return total, {}

        return loss


def _ids(words) -> Tensor:
    return torch.tensor([WORDS.index(word) for word in words])


def _patch_labels(scene: Scene) -> dict[str, np.ndarray]:
    """(patches,) colour, character and texture ids; ``IGNORE`` where there is none."""
    labels = {name: np.full((GRID, GRID), dense.IGNORE) for name in ("color", "char")}
    labels["texture"] = np.full((GRID, GRID), dense.TEXTURE_IDS[scene.texture])
    for plate in scene.plates:
        mine = dense.overlap(plate, SCENE_PX / IMAGE_PX) >= 10
        labels["color"][mine] = dense.COLOR_IDS[plate.color]
        labels["texture"][mine] = dense.IGNORE
        if plate.side >= LEGIBLE_PX:
            labels["char"][mine] = dense.CHAR_IDS[plate.char]
    return {name: label.flatten() for name, label in labels.items()}


@torch.no_grad()
def start_language_model(model: LlavaForConditionalGeneration, words: Tensor) -> None:
    """Word table to embedding and head; mimetic attention weights, in place.

    W_q = W_k and W_o ~ W_v transposed, orthogonal: without it questions stay at the
    colour words' prior for hundreds of steps. Source: Trockman & Kolter (2023).
    """
    text = model.model.language_model
    text.embed_tokens.weight.copy_(words)
    model.lm_head.weight.copy_(words)
    for layer in text.layers:
        attention, width = layer.self_attn, words.shape[1]
        match = nn.init.orthogonal_(torch.empty(width, width))
        move = nn.init.orthogonal_(torch.empty(width, width))
        attention.q_proj.weight.copy_(0.7 * match)
        attention.k_proj.weight.copy_(0.7 * match)
        attention.v_proj.weight.copy_(0.7 * move)
        attention.o_proj.weight.copy_(0.3 * move.T)


# Stage 3: questions and descriptions.


@dataclass(frozen=True)
class Turn:
    """Tokens of a prompt after its image, and of the answer with its end."""

    prompt: list[int]
    answer: list[int]


@cache
def _tokens(text: str) -> list[int]:
    return _tokenizer()(text, add_special_tokens=False)["input_ids"]


@cache
def _tokenizer():
    return tokenizer()


def turn(question: str, answer: str) -> Turn:
    """A question in the model's own prompt, and its answer."""
    prompt = _tokens(prompt_text(question, images=0))
    return Turn(prompt, [*_tokens(answer), WORDS.index("</s>")])


def turns(phase: Phase, shown: Shown, scene: Scene, rng: Generator) -> list[Turn]:
    """Up to four questions about what is in view, and perhaps a description."""
    texture, plates = shown
    askable = [plate for plate in plates if plate.side >= phase.smallest] or plates
    order = rng.permutation(len(askable))
    if phase.small_first:
        order = np.argsort([plate.side for plate in askable])
    made = []
    for number in order[:4]:
        kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
        question = questions.ask(kind, askable[number], rng)
        if kind == "exists" and rng.random() < 0.5:
            question = questions.ask_absent(scene, rng)
        made.append(turn(question.text, question.answer))
    if not made or rng.random() < phase.describe:
        legible = [plate for plate in plates if plate.side >= LEGIBLE_PX]
        made.append(turn(GENERAL_QUESTION, questions.describe(texture, legible)))
    return made


@dataclass(frozen=True)
class Batch:
    """Images and, behind each, its turns in one row; all (batch, tokens) but features.

    Attributes:
        features: (batch, images, patches, width).
        tokens: of the turns.
        labels: next token, ``IGNORE`` where none is learnt.
        turn: number of the turn that a token is of; turns do not see each other.
        position: restarts after the image for every turn.
        answering: whether a token is the last of its prompt, or of the answer.
    """

    features: Tensor
    tokens: Tensor
    labels: Tensor
    turn: Tensor
    position: Tensor
    answering: Tensor


def batch(pool: Pool, phase: Phase, pairs: bool, rng: Generator) -> Batch:
    """A random batch of scenes, crops, or pairs of a scene and a crop of it."""
    features, rows = [], []
    for index in rng.integers(0, SCENES, LANGUAGE.batch):
        cropped = not pairs and rng.random() < phase.crops
        image, shown, scene = pool.show(index, cropped)
        features.append(pool.features[index] if pairs else image[None])
        rows.append(_row(turns(phase, shown, scene, rng), features[-1].shape[0]))
    length = max(len(row[0]) for row in rows)
    blanks = (0, dense.IGNORE, 0, 1, 0)
    columns = [
        torch.tensor([row[n] + [blank] * (length - len(row[n])) for row in rows])
        for n, blank in enumerate(blanks)
    ]
    return Batch(torch.stack(features).float(), *columns)


def _row(made: list[Turn], images: int) -> tuple[list[int], ...]:
    """Tokens, labels, turn numbers, positions and answering flags of one row."""
    tokens, labels, number, position, answering = [], [], [], [], []
    for n, one in enumerate(made, start=1):
        inputs = one.prompt + one.answer[:-1]
        before = len(one.prompt) - 1
        tokens += inputs
        labels += [dense.IGNORE] * before + one.answer
        number += [n] * len(inputs)
        start = 1 + images * GRID**2
        position += range(start, start + len(inputs))
        answering += [0] * before + [1] * len(one.answer)
    return tokens, labels, number, position, answering


class Answering(nn.Module):
    """Projector and language model over cached features; the tower is not in it."""

    def __init__(self, model: LlavaForConditionalGeneration):
        super().__init__()
        self.projector = model.model.multi_modal_projector
        self.text = model.model.language_model
        self.head = model.lm_head
        words = [
            WORDS.index(word) for word in (*DIGITS, *LETTERS, *COLORS, "yes", "no")
        ]
        weight = torch.ones(len(WORDS))
        weight[words] = 3.0  # what is asked for counts more than the words around it
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, rows: Batch, look_late: bool) -> Tensor:
        """(batch, tokens, vocabulary) logits of the turns' tokens."""
        count, images = rows.features.shape[:2]
        width = images * GRID**2
        seen = self.projector(rows.features.flatten(0, 1)).reshape(count, width, -1)
        start = torch.full((count, 1), WORDS.index("<s>"))
        words = self.text.embed_tokens(torch.cat([start, rows.tokens], 1))
        embeddings = torch.cat([words[:, :1], seen, words[:, 1:]], 1)
        front = torch.arange(1 + width).expand(count, -1)
        hidden = self.text(
            inputs_embeds=embeddings,
            attention_mask=attention_mask(rows, 1 + width, look_late),
            position_ids=torch.cat([front, rows.position], 1),
            use_cache=False,
        ).last_hidden_state
        return self.head(hidden[:, 1 + width :])

    def loss_on(self, pool: Pool):
        """The stage's loss over a pool, as ``fit`` wants it."""

        def loss(step: int, rng: Generator):
            phase = next(phase for phase in PHASES if step < phase.until)
            shared = np.random.default_rng(step)  # the same on every process
            pairs = shared.random() < phase.pairs
            look_late = shared.random() < LOOK_LATE
            rows = batch(pool, phase, pairs, rng)
            logits, kept = self(rows, look_late), rows.labels != dense.IGNORE
            entropy = F.cross_entropy(logits[kept], rows.labels[kept], self.weight)
            kind = ("pairs" if pairs else "single") + (
                " look-late" if look_late else ""
            )
            # Right first words of answers to questions: descriptions begin otherwise.
            first = kept & (rows.tokens == WORDS.index("ASSISTANT:"))
            asked = first & (self.weight[rows.labels.clamp(0)] > 1)
            hit = asked & (logits.argmax(-1) == rows.labels)
            share = (hit.sum().item(), asked.sum().item())
            return entropy, {f"right, {kind}": share}

        return loss


def attention_mask(rows: Batch, front: int, look_late: bool) -> Tensor:
    """(batch, 1, tokens, tokens) boolean, True where a token may attend.

    Args:
        rows: the batch.
        front: tokens before the turns (start and images).
        look_late: whether only the tokens that answer may look at the images.
    """
    count, length = rows.tokens.shape
    total = front + length
    mask = torch.ones(total, total, dtype=torch.bool).tril().repeat(count, 1, 1)
    mask[:, front:, front:] &= rows.turn[:, :, None] == rows.turn[:, None]
    if look_late:
        mask[:, front:, 1:front] &= rows.answering[:, :, None].bool()
    return mask[:, None]
