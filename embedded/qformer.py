"""tiny-instructblip's stages: the Q-Former reads, then the language model answers.

Its queries are taught what to say, never where to look: no label holds a place.
"""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn
from transformers import CLIPVisionModel, InstructBlipForConditionalGeneration

from embedded import asking, features
from embedded.asking import NAMES, PHASES, Row, Supply
from embedded.curriculum import LEGIBLE_PX
from embedded.dense import IGNORE
from embedded.features import Pool, Source
from embedded.fit import Workers, fit
from embedded.instructblip import QUERIES, WIDTH, WORDS, fresh, processor, tokenizer
from embedded.scenes import CHARS, COLORS
from vicrop.adapters.instructblip import prompt_text

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
        text = padded([prompt_tokens(row.question.text) for row in rows], blank=0)
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
        tables = {name: self.words.weight[_ids(words)] for name, words in NAMES.items()}
        return {name: shown @ table.T for name, table in tables.items()}

    def loss_on(self, supply: Supply):
        """The stage's loss, as ``fit`` wants it."""

        def loss(step: int, rng: Generator):
            phase = next(phase for phase in PHASES["read"] if step < phase.until)
            count = asking.STAGES["read"].batch
            rows = supply.rows(phase, False, count, rng, vain=asking.ABSENT)
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


def _ids(words) -> list[int]:
    return [WORDS.index(word) for word in words]


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
        weight = torch.ones(len(WORDS))
        # What is asked for counts more than the words around it.
        weight[_ids((*CHARS, *COLORS, "yes", "no"))] = 3.0
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, rows: list[Row]) -> tuple[Tensor, Tensor]:
        """Logits (rows, tokens, vocabulary) of prompts and answers, and next tokens."""
        tokens, labels = [], []
        for row in rows:
            prompt = prompt_tokens(row.question.text)
            answer = [*_tokens(row.question.answer, False), WORDS.index("</s>")]
            tokens.append(prompt + answer[:-1])
            labels.append([IGNORE] * (len(prompt) - 1) + answer)
        queries = self.looking(rows)
        words = self.text.get_input_embeddings()(padded(tokens, blank=0))
        hidden = self.text.model(
            inputs_embeds=torch.cat([queries, words], 1), use_cache=False
        ).last_hidden_state
        return self.text.lm_head(hidden[:, queries.shape[1] :]), padded(labels, IGNORE)

    def loss_on(self, supply: Supply, stage: str):
        """The loss of a stage of ``PHASES``, as ``fit`` wants it."""

        def loss(step: int, rng: Generator):
            phase = next(phase for phase in PHASES[stage] if step < phase.until)
            # The same on every process.
            pairs = np.random.default_rng(step).random() < phase.pairs
            rows = supply.rows(phase, pairs, asking.STAGES[stage].batch, rng)
            logits, labels = self(rows)
            kept = labels != IGNORE
            entropy = F.cross_entropy(logits[kept], labels[kept], self.weight)
            return entropy, right(rows, logits, labels, "pairs" if pairs else "single")

        return loss


@cache
def _tokens(text: str, special: bool) -> list[int]:
    return _tokenizer()(text, add_special_tokens=special)["input_ids"]


@cache
def _tokenizer():
    return tokenizer()


def prompt_tokens(question: str) -> list[int]:
    """What follows the image tokens, and what the Q-Former reads."""
    return _tokens(prompt_text(question), True)


def padded(rows: list[list[int]], blank: int) -> Tensor:
    """(rows, longest), filled up on the right."""
    length = max(map(len, rows))
    return torch.tensor([row + [blank] * (length - len(row)) for row in rows])


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
    made = [features.pictures(number, source.spec)[2] for number in numbers]
    pixels = (torch.from_numpy(np.concatenate(made)).float() / 255 - 0.5) / 0.25
    parts = pixels.permute(0, 3, 1, 2).split(32)
    return torch.cat([tower(pixel_values=one).last_hidden_state[:, 0] for one in parts])


def train_instructblip(
    clip: CLIPVisionModel,
    load: Callable[[Source], Pool],
    folder: Path,
    workers: Workers,
    seed: int,
) -> None:
    """Q-Former alone, then with the language model; the first process saves.

    Args:
        clip: tiny-llava's trained vision tower.
        load: the features that it makes of training scenes.
        folder: of checkpoints, and of the model in the end.
        workers: that train together.
        seed: of everything that is drawn.
    """
    torch.manual_seed(seed)
    model = fresh(clip)
    tokens = partial(class_tokens, model.vision_model, features.FIRST)
    supply = Supply(load(features.FIRST), tokens)
    looking = Looking(model)
    reading = Reading(looking)
    train = partial(fit, folder=folder, workers=workers, seed=seed)
    stages = asking.STAGES
    train("read", stages["read"], reading, reading.loss_on(supply))
    start_language_model(model, reading.words.weight)
    answering = Answering(model, looking)
    train("answer", stages["answer"], answering, answering.loss_on(supply, "answer"))
    supply = Supply(load(features.SMALLER), tokens)
    train("refine", stages["refine"], answering, answering.loss_on(supply, "refine"))
    if workers.first:
        model.save_pretrained(folder / "tiny-instructblip")
        processor().save_pretrained(folder / "tiny-instructblip")


@torch.no_grad()
def start_language_model(
    model: InstructBlipForConditionalGeneration, words: Tensor
) -> None:
    """Words that queries have learnt to name, to embedding and head, in place."""
    model.language_model.get_input_embeddings().weight.copy_(words)
    model.language_model.get_output_embeddings().weight.copy_(words)
