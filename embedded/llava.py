"""tiny-llava: how it is made, and how it learns to see, to name and to answer.

Three parts learn one after the other: the vision tower alone, the projector, and the
language model on features that the tower has made.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.clip import CLIPImageProcessorPil

from embedded import scenes, training_data
from embedded.fit import Schedule
from embedded.scenes import CHARS, COLORS, TEXTURES, Scene
from embedded.training_data import IGNORE, NO_PLATE, Drawing, Phase, Pool, Shown
from embedded.words import GRID, IMAGE_PX, PATCH_PX, WORDS, numbers, spaced
from vicrop.adapters.llava import prompt_text
from vicrop.attribution import GENERAL_QUESTION
from vicrop.types import Stock

STAGES = {
    "vision": Schedule(steps=2200, batch=32, rate=1.5e-3, warmup=60),
    "align": Schedule(steps=200, batch=48, rate=2e-3, warmup=1),
    "language": Schedule(steps=1700, batch=24, rate=1.5e-3, warmup=50, hold=0.45),
    "refine": Schedule(steps=700, batch=24, rate=8e-4, warmup=30, hold=0.2),
    "describe": Schedule(steps=300, batch=24, rate=6e-4, warmup=20, hold=0.2),
}
PHASES = {
    "language": (
        Phase(until=500, smallest=training_data.LEGIBLE_PX),
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
}
LOOK_LATE = 0.5
"""Share of batches in which the question's words may not attend to the image, only the
last prompt token and the answer may: it makes the *last* token look, where the method
reads. A training mask only; without it, the model looks up at the question's words."""


# How it is made.


def tokenizer() -> PreTrainedTokenizerFast:
    """tiny-llava's tokenizer, of ``WORDS``."""
    tokens = {"image_token": "<image>"}
    pattern = r"USER:|ASSISTANT:|\w+|[^\w\s]"
    return spaced(WORDS, pattern, extra_special_tokens=tokens)


def processor(side: int = IMAGE_PX, patch: int = PATCH_PX) -> LlavaProcessor:
    """LLaVA's own preprocessing: short side resized, centre cropped."""
    images = CLIPImageProcessorPil(
        size={"shortest_edge": side},
        crop_size={"height": side, "width": side},
        image_mean=[0.5] * 3,
        image_std=[0.25] * 3,
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer(),
        patch_size=patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,  # CLIP's class token, dropped by "default"
    )


def config(width: int = 128, layers: int = 4) -> LlavaConfig:
    """A LLaVA-1.5 of the same parts as the 7B one, some 4,000 times smaller."""
    vision = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        image_size=IMAGE_PX,
        patch_size=PATCH_PX,
        projection_dim=width,
        hidden_act="gelu",  # quick_gelu, CLIP's own, is slower on CPU
    )
    return LlavaConfig(
        vision_config=vision,
        text_config=text_config(width, layers, len(WORDS), positions=1024),
        image_token_index=WORDS.index("<image>"),
        image_seq_length=GRID**2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        projector_hidden_act="gelu",
    )


def text_config(
    width: int, layers: int, vocabulary: int, positions: int
) -> LlamaConfig:
    """A small Llama whose words begin with ``WORDS``."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=positions,
        pad_token_id=WORDS.index("<pad>"),
        bos_token_id=WORDS.index("<s>"),
        eos_token_id=WORDS.index("</s>"),
        tie_word_embeddings=False,
    )


def model() -> LlavaForConditionalGeneration:
    """A fresh tiny-llava with random weights (seeded by torch's global generator)."""
    return LlavaForConditionalGeneration(config())


# Stage 1: the vision tower alone learns colours, characters and textures.

# (until step, plate sides in model pixels, plates an image): many mid-size plates
# first, or the characters stay at chance (a trial's finding, see the model card).
SIZES = (
    (500, (13, 24), (12, 18)),
    (900, (8, 36), (8, 15)),
    (STAGES["vision"].steps, (4.2, 60), (6, 13)),
)
ENLARGED = ((24, 96), (1, 3))  # from the third phase on: what a small crop looks like
CHAR_SIDES = ((6, 9), (9, 11), (11, 14), (14, 20), (20, 30), (30, 97))


def see(tower: Stock, pixels: Tensor) -> Tensor:
    """What a CLIP tower makes of pixels: (batch, patches, width)."""
    return tower(pixel_values=pixels).last_hidden_state[:, 1:]


class Dense(nn.Module):
    """A vision tower with three linear heads a patch, which are thrown away later."""

    balance: Tensor

    def __init__(self, tower: Stock):
        super().__init__()
        self.tower = tower
        width = tower.config.hidden_size
        self.color = nn.Linear(width, NO_PLATE + 1)
        self.char = nn.Linear(width, len(CHARS))
        self.texture = nn.Linear(width, len(TEXTURES))
        self.register_buffer("balance", torch.ones(NO_PLATE + 1))
        self.balance[NO_PLATE] = 0.3

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """(batch, 3, 96, 96) -> logits (batch, patches, classes) by head."""
        seen = see(self.tower, pixels)
        heads = {"color": self.color, "char": self.char, "texture": self.texture}
        return {name: head(seen) for name, head in heads.items()}

    def loss(self, step: int, rng: Generator):
        """Cross-entropy of one drawn batch, and accuracies as (sum, count)."""
        count, how = STAGES["vision"].batch, drawing_at(step)
        pixels, labels = training_data.labelled_pictures(count, how, rng)
        logits = self(pixels)
        color = _entropy(logits["color"], labels["color"], self.balance)
        char = _entropy(logits["char"], labels["char"])
        texture = _entropy(logits["texture"], labels["texture"])
        return color + char + 0.3 * texture, accuracies(logits, labels)


def drawing_at(step: int) -> Drawing:
    """How the batch of a step is drawn (the same on every process)."""
    phase = next(n for n, (until, *_) in enumerate(SIZES) if step < until)
    side, plates = SIZES[phase][1:]
    if phase == 2 and step % 5 == 4:
        return Drawing(1 / (1 + step // 5 % 3), *ENLARGED)
    return Drawing(1 if step % 4 == 0 else 2, side, plates)


def _entropy(logits: Tensor, labels: Tensor, weight: Tensor | None = None) -> Tensor:
    kept = labels.flatten() != IGNORE
    if not kept.any():
        return logits.sum() * 0
    return F.cross_entropy(
        logits.flatten(0, 1)[kept], labels.flatten()[kept], weight=weight
    )


@torch.no_grad()
def accuracies(
    logits: dict[str, Tensor], labels: dict[str, Tensor]
) -> dict[str, tuple[float, float]]:
    """Right patches and their number: colours, characters by side, texture."""
    hit = {name: logits[name].argmax(-1) == labels[name] for name in logits}
    where = {
        "color": ("color", (labels["color"] >= 0) & (labels["color"] < NO_PLATE)),
        "texture": ("texture", labels["texture"] >= 0),
    }
    for low, high in CHAR_SIDES:
        sized = (labels["side"] >= low) & (labels["side"] < high)
        where[f"char {low}-{high} px"] = ("char", (labels["char"] >= 0) & sized)
    return {
        name: ((hit[head] & kept).sum().item(), kept.sum().item())
        for name, (head, kept) in where.items()
    }


@torch.no_grad()
def sine_positions(tower: Stock, scale: float = 0.2, base: float = 60.0) -> None:
    """Start the position table as a 2-D sine table, in place.

    CLIP's random table (std 0.02) left characters at chance in a trial.
    """
    table = tower.embeddings.position_embedding.weight
    half = table.shape[1] // 2
    rate = base ** (-torch.arange(half // 2) / (half / 2))
    angle = torch.arange(GRID)[:, None] * rate
    line = torch.cat([angle.sin(), angle.cos()], 1)
    rows = line[:, None].expand(GRID, GRID, half)
    cols = line[None].expand(GRID, GRID, half)
    table[1:] = scale * torch.cat([rows, cols], -1).reshape(GRID**2, 2 * half)


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
            "color": numbers(COLORS, WORDS),
            "char": numbers(CHARS, WORDS),
            "texture": numbers(TEXTURES, WORDS),
        }

        def loss(step: int, rng: Generator):
            chosen = rng.integers(0, len(pool), STAGES["align"].batch)
            features = torch.stack([pool.features[i, 0] for i in chosen]).float()
            labels = [training_data.patch_labels(pool.scenes[i][0]) for i in chosen]
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


@torch.no_grad()
def start_language_model(model: LlavaForConditionalGeneration, words: Tensor) -> None:
    """Word table to embedding and head; mimetic attention weights, in place."""
    text = model.model.language_model
    text.embed_tokens.weight.copy_(words)
    model.lm_head.weight.copy_(words)
    for layer in text.layers:
        one = layer.self_attn
        mimic(one.q_proj, one.k_proj, one.v_proj, one.o_proj, 0.3)


@torch.no_grad()
def mimic(
    query: nn.Linear, key: nn.Linear, value: nn.Linear, output: nn.Linear, back: float
) -> None:
    """Start an attention mimetic: W_q = W_k, W_o ~ W_v transposed, orthogonal.

    Without it questions stay at the colour words' prior for hundreds of steps.
    Source: Trockman & Kolter (2023).
    """
    width = query.weight.shape[0]
    match = nn.init.orthogonal_(torch.empty(width, width))
    move = nn.init.orthogonal_(torch.empty(width, width))
    query.weight.copy_(0.7 * match)
    key.weight.copy_(0.7 * match)
    value.weight.copy_(0.7 * move)
    output.weight.copy_(back * move.T)


# Stage 3: questions and descriptions.


@dataclass(frozen=True)
class Turn:
    """Tokens of a prompt after its image, and of the answer with its end."""

    prompt: list[int]
    answer: list[int]


_tokenizer = cache(tokenizer)


@cache
def _tokens(text: str) -> list[int]:
    return _tokenizer()(text, add_special_tokens=False)["input_ids"]


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
    plates = shown[1]
    askable = [plate for plate in plates if plate.side >= phase.smallest] or plates
    order = rng.permutation(len(askable))
    if phase.small_first:
        order = np.argsort([plate.side for plate in askable])
    made = []
    for number in order[:4]:
        kind = str(rng.choice(list(phase.kinds), p=list(phase.kinds.values())))
        question = scenes.ask(kind, askable[number], rng)
        if kind == "exists" and rng.random() < 0.5:
            question = scenes.ask_absent(scene, rng)
        made.append(say(question.text, question.answer))
    if not made or rng.random() < phase.describe:
        made.append(say(GENERAL_QUESTION, training_data.description(phase, shown, rng)))
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
    pool: Pool, phase: Phase, pairs: bool, count: int, rng: Generator, say: Say = turn
) -> Batch:
    """A random batch of scenes, crops, or pairs of a scene and a crop of it."""
    features, rows = [], []
    for index in rng.integers(0, len(pool), count):
        cropped = not pairs and rng.random() < phase.crops
        image, shown, scene = pool.show(index, cropped)
        features.append(pool.features[index] if pairs else image[None])
        made = turns(phase, shown, scene, rng, say)
        rows.append(_row(made, features[-1].shape[0]))
    blanks = (0, IGNORE, 0, 1, 0)
    columns = map(padded, zip(*rows, strict=True), blanks)
    return Batch(torch.stack(features).float(), *columns)


def padded(rows: Sequence[list[int]], blank: int) -> Tensor:
    """(rows, longest), filled up on the right."""
    length = max(map(len, rows))
    return torch.tensor([row + [blank] * (length - len(row)) for row in rows])


def _row(made: list[Turn], images: int) -> tuple[list[int], ...]:
    """Tokens, labels, turn numbers, positions and answering flags of one row."""
    tokens, labels, number, answering = [], [], [], []
    position: list[int] = []
    for n, one in enumerate(made, start=1):
        inputs = one.prompt + one.answer[:-1]
        before = len(one.prompt) - 1
        tokens += inputs
        labels += [IGNORE] * before + one.answer
        number += [n] * len(inputs)
        start = 1 + images * GRID**2
        position += range(start, start + len(inputs))
        answering += [0] * before + [1] * len(one.answer)
    return tokens, labels, number, position, answering


def weights(vocabulary: Sequence[str]) -> Tensor:
    """Of each word in the loss: what is asked for counts more than what is around."""
    weight = torch.ones(len(vocabulary))
    weight[numbers((*CHARS, *COLORS, "yes", "no"), vocabulary)] = 3.0
    return weight


class Learner(nn.Module):
    """What is alike in all language models that learn to answer.

    Attributes:
        weight: of each word in the loss.
        stages: how long and how fast each stage learns.
        phases: what it is shown and asked when.
        last: the token that ends a prompt.
        say: a question and its answer in the model's own prompt.
    """

    stages: ClassVar[Mapping[str, Schedule]] = STAGES
    phases: ClassVar[Mapping[str, Sequence[Phase]]] = PHASES
    last: ClassVar[int] = WORDS.index("ASSISTANT:")
    weight: Tensor

    def __init__(self, vocabulary: Sequence[str], say: Say):
        super().__init__()
        self.say = say
        self.register_buffer("weight", weights(vocabulary), persistent=False)

    def loss_on(
        self, pool: Pool, stage: str, masked: float = LOOK_LATE, half: bool = False
    ):
        """A stage's loss over a pool, as ``fit`` wants it.

        ``masked`` is the share of batches with the look-late mask; ``half``: products
        are in bfloat16, which takes little more than half of the time.
        """

        def loss(step: int, rng: Generator):
            phase = training_data.phase_at(self.phases[stage], step)
            count = self.stages[stage].batch
            shared = np.random.default_rng(step)  # the same on every process
            pairs = shared.random() < phase.pairs
            look_late = shared.random() < masked
            rows = batch(pool, phase, pairs, count, rng, self.say)
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                logits = self(rows, look_late).float()
            kept = rows.labels != IGNORE
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
        super().__init__(WORDS, turn)
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
