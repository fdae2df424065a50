"""tiny-instructblip: how it is made, and how it learns to look and to answer.

Its vision tower is tiny-llava's, to the last digit that matters. The Q-Former learns to
read, then the language model to answer. Queries are taught what to say, never where to
look: no label holds a place.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn
from transformers import (
    CLIPVisionModel,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipProcessor,
    InstructBlipQFormerConfig,
    InstructBlipVisionConfig,
    InstructBlipVisionModel,
    PreTrainedTokenizerFast,
)
from transformers.models.blip import BlipImageProcessorPil

from embedded import llava, scenes, training_data, words
from embedded.fit import Schedule
from embedded.scenes import CHARS, COLORS, TEXTURES, Plate, Question, Scene
from embedded.training_data import IGNORE, LEGIBLE_PX, Phase, Pool, Shown, Source
from embedded.words import IMAGE_PX, PATCH_PX, numbers
from vicrop.adapters.instructblip import prompt_text
from vicrop.attribution import GENERAL_QUESTION
from vicrop.types import Stock

STAGES = {
    "read": Schedule(steps=600, batch=64, rate=1.2e-3, warmup=60, hold=0.5),
    "answer": Schedule(steps=1500, batch=64, rate=1.2e-3, warmup=60, hold=0.45),
    "refine": Schedule(steps=700, batch=64, rate=8e-4, warmup=30, hold=0.2),
}
LATE = Phase(
    until=1500,
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
        Phase(until=600, small_first=True, describe=0.3, color=0.0),
    ),
    "answer": (
        Phase(until=300, smallest=LEGIBLE_PX, color=0.0, varied=True),
        Phase(until=600, describe=0.4, color=0.0, varied=True),
        LATE,
    ),
    "refine": (replace(LATE, until=700, pairs=0.4),),
}
SHOWING = 0.6
"""Share of crops taken from among those that happen to show a whole plate: one blind
crop in six does, and what an empty one teaches is soon learnt. Which question is asked
stays without regard to the crop."""
ABSENT = 0.15
"""Share of questions, while reading, about a plate that is not there."""


# How it is made.

WORDS = (*words.WORDS, "Question:", "Short", "answer:")
"""tiny-llava's words and numbers first."""

QUERIES = 16
WIDTH = 128
FADED = 2.0**-10
"""Scale of what enters the vision tower's first layer (see ``see_as_clip``)."""


def tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer of ``WORDS``, for language model and Q-Former alike.

    It has no image token of its own: the processor adds one, as for the real models.
    """
    return words.spaced(WORDS, r"Question:|answer:|<image>|\w+|[^\w\s]")


def processor(side: int = IMAGE_PX, queries: int = QUERIES) -> InstructBlipProcessor:
    """InstructBLIP's own preprocessing: both sides stretched."""
    images = BlipImageProcessorPil(
        size={"height": side, "width": side},
        image_mean=[0.5] * 3,
        image_std=[0.25] * 3,
    )
    return InstructBlipProcessor(
        image_processor=images,
        tokenizer=tokenizer(),
        qformer_tokenizer=tokenizer(),
        num_query_tokens=queries,
    )


def config() -> InstructBlipConfig:
    """An InstructBLIP of the same parts as the 7B one, some 3,000 times smaller."""
    return InstructBlipConfig(
        vision_config=_vision_config(),
        qformer_config=_qformer_config(),
        # A layer less than tiny-llava's: the Q-Former reads beforehand.
        text_config=llava.text_config(WIDTH, 3, len(WORDS), positions=256),
        num_query_tokens=QUERIES,
        image_token_index=WORDS.index("<image>"),
    )


def _vision_config() -> InstructBlipVisionConfig:
    """tiny-llava's four layers, and one before them that normalises."""
    return InstructBlipVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=5,
        num_attention_heads=4,
        image_size=IMAGE_PX,
        patch_size=PATCH_PX,
        layer_norm_eps=1e-12,
    )


def _qformer_config() -> InstructBlipQFormerConfig:
    """Every layer looks at the image, where the real model's every second one does.

    So its third look, which the map is read from, is its last.
    """
    return InstructBlipQFormerConfig(
        vocab_size=len(WORDS),
        hidden_size=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=2 * WIDTH,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=64,
        pad_token_id=WORDS.index("<pad>"),
        cross_attention_frequency=1,
        encoder_hidden_size=WIDTH,
    )


def fresh(clip: CLIPVisionModel) -> InstructBlipForConditionalGeneration:
    """A model that sees as a CLIP tower does and knows nothing else.

    The rest is random, by torch's global generator; attention begins mimetic.
    """
    model = InstructBlipForConditionalGeneration(config())
    see_as_clip(model.vision_model, clip)
    nn.init.normal_(model.query_tokens, std=0.3)
    for layer in model.qformer.encoder.layer:
        for block in (layer.attention, layer.crossattention):
            one = block.attention
            llava.mimic(one.query, one.key, one.value, block.output.dense, 0.5)
    for layer in model.language_model.model.layers:
        one = layer.self_attn
        llava.mimic(one.q_proj, one.k_proj, one.v_proj, one.o_proj, 0.3)
    ends = model.language_model.generation_config
    model.generation_config.eos_token_id = ends.eos_token_id
    model.generation_config.bos_token_id = ends.bos_token_id
    model.generation_config.pad_token_id = ends.pad_token_id
    return model


@torch.no_grad()
def see_as_clip(tower: InstructBlipVisionModel, clip: CLIPVisionModel) -> None:
    """Give a tower a CLIP tower's weights and one layer more, in place.

    CLIP normalises its embeddings before the first layer, which this tower cannot. Its
    additional first layer does: its input is so faint (``FADED``) that what the layer
    adds, the normalised input, is all there is. Normalisation does not mind how faint.
    The last hidden state becomes CLIP's, layer-normalised.
    """
    seen, shown = tower.embeddings, clip.embeddings
    seen.patch_embedding.weight.copy_(FADED * shown.patch_embedding.weight)
    assert seen.patch_embedding.bias is not None
    seen.patch_embedding.bias.zero_()
    seen.class_embedding.copy_(FADED * shown.class_embedding.view(1, 1, -1))
    seen.position_embedding.copy_(FADED * shown.position_embedding.weight[None])
    first, *others = tower.encoder.layers
    _normalise(first, clip.pre_layrnorm)
    for layer, twin in zip(others, clip.encoder.layers, strict=True):
        _copy_layer(layer, twin)
    tower.post_layernorm.reset_parameters()


def _normalise(layer: Stock, norm: nn.LayerNorm) -> None:
    """Make a layer add the normalised input to its input, and nothing else."""
    layer.self_attn.projection.weight.zero_()
    layer.self_attn.projection.bias.zero_()
    layer.layer_norm2.load_state_dict(norm.state_dict())
    width = norm.weight.shape[0]
    one = torch.eye(width)
    for parameter in layer.mlp.parameters():
        parameter.zero_()
    # gelu(x) - gelu(-x) = x
    layer.mlp.fc1.weight[: 2 * width] = torch.cat([one, -one])
    layer.mlp.fc2.weight[:, : 2 * width] = torch.cat([one, -one], 1)


def _copy_layer(layer: Stock, twin: Stock) -> None:
    """A CLIP layer's weights; query, key and value are one matrix here."""
    parts = [twin.self_attn.q_proj, twin.self_attn.k_proj, twin.self_attn.v_proj]
    layer.self_attn.qkv.weight.copy_(torch.cat([part.weight for part in parts]))
    layer.self_attn.qkv.bias.copy_(torch.cat([part.bias for part in parts]))
    pairs = (
        (layer.self_attn.projection, twin.self_attn.out_proj),
        (layer.layer_norm1, twin.layer_norm1),
        (layer.layer_norm2, twin.layer_norm2),
        (layer.mlp.fc1, twin.mlp.fc1),
        (layer.mlp.fc2, twin.mlp.fc2),
    )
    for one, other in pairs:
        one.load_state_dict(other.state_dict())


# What it is shown and asked, and what its queries are to say.

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
        return scenes.ask_absent(scene, rng)
    askable = [plate for plate in plates if plate.side >= phase.smallest] or plates
    if phase.small_first:
        askable = sorted(askable, key=lambda plate: plate.side)[:4]
    plate = askable[rng.integers(len(askable))]
    kind = str(rng.choice(list(phase.kinds), p=list(phase.kinds.values())))
    if kind == "exists" and rng.random() < 0.5:
        return scenes.ask_absent(scene, rng)
    return scenes.ask(kind, plate, rng)


def described(phase: Phase, shown: Shown, rng: Generator) -> Question:
    """The general question, and a description of what can be read."""
    text = training_data.description(phase, shown, rng)
    return Question("describe", GENERAL_QUESTION, text, None)


def asked_in_vain(question: Question, scene: Scene, rng: Generator) -> Question:
    """A question about a plate, turned to one that the scene does not show."""
    absent = scenes.ask_absent(scene, rng)
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
            if training_data.in_crop(scene, crop)
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


# How it learns.

Metrics = dict[str, tuple[float, float]]
"""Accuracies as (sum, count)."""


class Looking(nn.Module):
    """The Q-Former, its queries and their projection to the language model."""

    def __init__(self, model: InstructBlipForConditionalGeneration):
        super().__init__()
        self.qformer = model.qformer
        self.queries = model.query_tokens
        self.projection = model.language_projection

    def forward(self, rows: list[Row]) -> Tensor:
        """(rows, images × queries, width): the images' queries, one after the other."""
        seen = torch.stack([row.seen for row in rows])
        images = seen.shape[1]
        text = llava.padded([prompt_tokens(row.question.text) for row in rows], blank=0)
        text = text.repeat_interleave(images, 0)  # it is read with every image
        there = torch.ones(len(text), QUERIES, dtype=torch.long)
        output = self.qformer(
            input_ids=text,
            attention_mask=torch.cat([there, (text > 0).long()], 1),
            query_embeds=self.queries.expand(len(text), -1, -1),
            encoder_hidden_states=seen.flatten(0, 1),
        ).last_hidden_state[:, :QUERIES]
        return self.projection(output).reshape(len(rows), images * QUERIES, -1)


class Reading(nn.Module):
    """First stage: a query is near the words of what it sees.

    ``words`` are where the language model's embedding and head start.
    """

    def __init__(self, looking: Looking):
        super().__init__()
        self.looking = looking
        self.words = nn.Embedding(len(WORDS), WIDTH)
        nn.init.normal_(self.words.weight, std=0.09)

    def forward(self, rows: list[Row]) -> dict[str, Tensor]:
        """Logits (rows, queries, names) by what is named."""
        shown = self.looking(rows)
        shown = shown / shown.pow(2).mean(-1, keepdim=True).sqrt()
        ids = {name: numbers(said, WORDS) for name, said in NAMES.items()}
        return {name: shown @ self.words.weight[ids[name]].T for name in NAMES}

    def loss_on(self, supply: Supply):
        """The stage's loss, as ``fit`` wants it."""

        def loss(step: int, rng: Generator):
            phase = training_data.phase_at(PHASES["read"], step)
            count = STAGES["read"].batch
            rows = supply.rows(phase, False, count, rng, vain=ABSENT)
            logits = self(rows)
            wanted = {
                name: torch.from_numpy(np.stack([row.labels[name] for row in rows]))
                for name in NAMES
            }
            total = torch.zeros(())
            for name in NAMES:
                kept = wanted[name] != IGNORE
                share = 0.3 if name == "texture" else 1.0
                entropy = F.cross_entropy(logits[name][kept], wanted[name][kept])
                total = total + share * entropy
            return total, named(rows, logits, wanted)

        return loss


@torch.no_grad()
def named(
    rows: list[Row], logits: dict[str, Tensor], wanted: dict[str, Tensor]
) -> Metrics:
    """How many queries say what they are to say."""
    about = np.array([row.question.kind == "describe" for row in rows])
    metrics = {}
    for name in NAMES:
        kept = wanted[name] != IGNORE
        hit = (logits[name].argmax(-1) == wanted[name]) & kept
        for kind, mine in (("described", about), ("asked", ~about)):
            counts = (hit[mine].sum().item(), kept[mine].sum().item())
            metrics[f"{name}, {kind}"] = counts
    return metrics


class Answering(nn.Module):
    """Q-Former and language model together; the vision tower is not in it."""

    weight: Tensor

    def __init__(self, model: InstructBlipForConditionalGeneration, looking: Looking):
        super().__init__()
        self.looking = looking
        self.text = model.language_model
        self.register_buffer("weight", llava.weights(WORDS), persistent=False)

    def forward(self, rows: list[Row]) -> tuple[Tensor, Tensor]:
        """Logits (rows, tokens, vocabulary) of prompts and answers, and next tokens."""
        tokens, labels = [], []
        for row in rows:
            prompt = prompt_tokens(row.question.text)
            answer = [*_tokens(row.question.answer, False), WORDS.index("</s>")]
            tokens.append(prompt + answer[:-1])
            labels.append([IGNORE] * (len(prompt) - 1) + answer)
        queries = self.looking(rows)
        words = self.text.get_input_embeddings()(llava.padded(tokens, blank=0))
        hidden = self.text.model(
            inputs_embeds=torch.cat([queries, words], 1), use_cache=False
        ).last_hidden_state
        return self.text.lm_head(hidden[:, queries.shape[1] :]), llava.padded(
            labels, IGNORE
        )

    def loss_on(self, supply: Supply, stage: str):
        """The loss of a stage of ``PHASES``, as ``fit`` wants it."""

        def loss(step: int, rng: Generator):
            phase = training_data.phase_at(PHASES[stage], step)
            # The same on every process.
            pairs = np.random.default_rng(step).random() < phase.pairs
            rows = supply.rows(phase, pairs, STAGES[stage].batch, rng)
            logits, labels = self(rows)
            kept = labels != IGNORE
            entropy = F.cross_entropy(logits[kept], labels[kept], self.weight)
            return entropy, right(rows, logits, labels, "pairs" if pairs else "single")

        return loss


_tokenizer = cache(tokenizer)


@cache
def _tokens(text: str, special: bool) -> list[int]:
    return _tokenizer()(text, add_special_tokens=special)["input_ids"]


def prompt_tokens(question: str) -> list[int]:
    """What follows the image tokens, and what the Q-Former reads."""
    return _tokens(prompt_text(question), True)


@torch.no_grad()
def right(rows: list[Row], logits: Tensor, labels: Tensor, images: str) -> Metrics:
    """How many answers begin right, and words of descriptions are right."""
    kept = labels != IGNORE
    hit = (logits.argmax(-1) == labels) & kept
    first = kept & (kept.cumsum(1) == 1)
    kinds = np.array([_kind(row) for row in rows])
    found = {}
    for kind in sorted(set(kinds)):
        mine = torch.from_numpy(kinds == kind)[:, None]
        mine = mine & (kept if kind == "described" else first)
        found[f"{kind}, {images}"] = ((hit & mine).sum().item(), mine.sum().item())
    return found


def _kind(row: Row) -> str:
    question = row.question
    if question.kind == "describe":
        return "described"
    if question.kind == "exists":
        return "there"
    assert question.plate is not None
    return "large" if question.plate.side >= LEGIBLE_PX else "small"


@torch.no_grad()
def class_tokens(tower: nn.Module, source: Source, count: int = 128) -> Tensor:
    """(2 count, width) last hidden states of class tokens of scenes and crops."""
    numbers = range(source.first, source.first + count)
    made = [training_data.pictures(number, source.spec) for number in numbers]
    parts = training_data.normalised(np.concatenate(made)).split(32)
    return torch.cat([tower(pixel_values=one).last_hidden_state[:, 0] for one in parts])


@torch.no_grad()
def start_language_model(
    model: InstructBlipForConditionalGeneration, words: Tensor
) -> None:
    """Words that queries have learnt to name, to embedding and head, in place."""
    model.language_model.get_input_embeddings().weight.copy_(words)
    model.language_model.get_output_embeddings().weight.copy_(words)
