"""Stages 2 and 3: the projector and the language model, on cached features."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration

from embedded import dense, questions
from embedded.curriculum import ALIGN, LANGUAGE, LEGIBLE_PX, LOOK_LATE, PHASES, Phase
from embedded.features import SCENE_PX, Pool, Shown
from embedded.models import GRID, IMAGE_PX, WORDS, tokenizer
from embedded.scenes import COLORS, DIGITS, LETTERS, TEXTURES, Scene
from vicrop.adapters.llava import prompt_text
from vicrop.attribution import GENERAL_QUESTION

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
            chosen = rng.integers(0, len(pool), ALIGN.batch)
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


Say = Callable[[str, str], Turn]
"""(question, answer) -> the turn, in a model's own prompt."""


def turns(
    phase: Phase, shown: Shown, scene: Scene, rng: Generator, say: Say = turn
) -> list[Turn]:
    """Up to four questions about what is in view, and perhaps a description."""
    texture, plates = shown
    askable = [plate for plate in plates if plate.side >= phase.smallest] or plates
    order = rng.permutation(len(askable))
    if phase.small_first:
        order = np.argsort([plate.side for plate in askable])
    made = []
    for number in order[:4]:
        kind = str(rng.choice(list(phase.kinds), p=list(phase.kinds.values())))
        question = questions.ask(kind, askable[number], rng)
        if kind == "exists" and rng.random() < 0.5:
            question = questions.ask_absent(scene, rng)
        made.append(say(question.text, question.answer))
    if not made or rng.random() < phase.describe:
        legible = [plate for plate in plates if plate.side >= LEGIBLE_PX]
        order_by = rng if phase.varied else None
        text = questions.describe(texture, legible, order_by)
        made.append(say(GENERAL_QUESTION, text))
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


def batch(
    pool: Pool, phase: Phase, pairs: bool, rng: Generator, say: Say = turn
) -> Batch:
    """A random batch of scenes, crops, or pairs of a scene and a crop of it."""
    features, rows = [], []
    for index in rng.integers(0, len(pool), LANGUAGE.batch):
        cropped = not pairs and rng.random() < phase.crops
        image, shown, scene = pool.show(index, cropped)
        features.append(pool.features[index] if pairs else image[None])
        made = turns(phase, shown, scene, rng, say)
        rows.append(_row(made, features[-1].shape[0]))
    length = max(len(row[0]) for row in rows)
    blanks = (0, dense.IGNORE, 0, 1, 0)
    columns = [
        torch.tensor([row[n] + [blank] * (length - len(row[n])) for row in rows])
        for n, blank in enumerate(blanks)
    ]
    return Batch(torch.stack(features).float(), *columns)


def _row(made: list[Turn], images: int) -> tuple[list[int], ...]:
    """Tokens, labels, turn numbers, positions and answering flags of one row."""
    tokens, labels, number, answering = [], [], [], []
    position: list[int] = []
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


class Learner(nn.Module):
    """What is alike in all language models that learn to answer.

    Attributes:
        weight: of each word in the loss.
        last: the token that ends a prompt.
    """

    last: ClassVar[int] = WORDS.index("ASSISTANT:")
    weight: Tensor

    def __init__(self, vocabulary: Sequence[str]):
        super().__init__()
        words = (*DIGITS, *LETTERS, *COLORS, "yes", "no")
        weight = torch.ones(len(vocabulary))
        # What is asked for counts more than the words around it.
        weight[[vocabulary.index(word) for word in words]] = 3.0
        self.register_buffer("weight", weight, persistent=False)

    @staticmethod
    def say(question: str, answer: str) -> Turn:
        """What follows the image in the model's own prompt, and the answer."""
        return turn(question, answer)

    def loss_on(self, pool: Pool, stage: str, masked: float = LOOK_LATE):
        """The loss of a stage of ``PHASES`` over a pool, as ``fit`` wants it.

        ``masked`` is the share of batches with the look-late mask.
        """

        def loss(step: int, rng: Generator):
            phase = next(phase for phase in PHASES[stage] if step < phase.until)
            shared = np.random.default_rng(step)  # the same on every process
            pairs = shared.random() < phase.pairs
            look_late = shared.random() < masked
            rows = batch(pool, phase, pairs, rng, self.say)
            logits, kept = self(rows, look_late), rows.labels != dense.IGNORE
            entropy = F.cross_entropy(logits[kept], rows.labels[kept], self.weight)
            kind = ("pairs" if pairs else "single") + (
                " look-late" if look_late else ""
            )
            # Right first words of answers to questions: descriptions begin otherwise.
            first = kept & (rows.tokens == self.last)
            asked = first & (self.weight[rows.labels.clamp(0)] > 1)
            hit = asked & (logits.argmax(-1) == rows.labels)
            share = (hit.sum().item(), asked.sum().item())
            return entropy, {f"right, {kind}": share}

        return loss


class Answering(Learner):
    """Projector and language model over cached features; the tower is not in it."""

    def __init__(self, model: LlavaForConditionalGeneration):
        super().__init__(WORDS)
        self.projector = model.model.multi_modal_projector
        self.text = model.model.language_model
        self.head = model.lm_head

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
