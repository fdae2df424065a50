"""The language model's half of an adapter: prefixes, first answer tokens, answers."""

from __future__ import annotations

from abc import ABC
from collections.abc import Hashable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import DynamicCache

from vicrop import cache as kept
from vicrop import capture
from vicrop.prompts import Prefix, Prompt, Seen, Start, Words, Work, not_none
from vicrop.tail import last_token_only
from vicrop.types import Stock


class Language(ABC):
    """Runs prompts that begin with an image's tokens.

    Attributes:
        model: a transformers model.
        layer: of the map, counted from 0.
        work: what the language model has done so far.
        trace_is_whole: whether ``trace`` runs the whole prompt, not its last token.
    """

    model: Stock
    layer: int
    trace_is_whole: ClassVar[bool] = False
    work: Work = Work()

    # What a family may say otherwise.

    @property
    def text_model(self) -> Stock:
        """The language model without its head."""
        return self.model.model.language_model

    @property
    def head(self) -> nn.Module:
        """Hidden states to scores over the vocabulary."""
        return self.model.lm_head

    @property
    def image_token_id(self) -> int:
        """The placeholder's."""
        return self.model.config.image_token_id

    @property
    def attention(self) -> list[nn.Module]:
        """The language model's self-attention modules, lowest first."""
        return [layer.self_attn for layer in self.text_model.layers]

    @property
    def end(self) -> list[nn.Module]:
        """What the last layer does after attention, with each token by itself."""
        layer = self.text_model.layers[-1]
        return [layer.self_attn.o_proj, layer.mlp]

    def token_count(self, seen: Seen) -> int:
        """Image tokens of one image in the prompt."""
        rows, cols = seen.grid
        return rows * cols

    def image_tokens(self, seen: Seen, words: Words) -> Tensor:
        """(images, tokens, hidden) for the language model."""
        return seen.features

    def positions(self, ids: Tensor, seen: Sequence[Seen]) -> Tensor | None:
        """Of a prompt's tokens; None if the language model just counts."""
        return None

    def prefix_key(self, words: Words) -> Hashable:
        """What a kept prefix depends on beside the image: usually nothing."""
        return None

    # What all families share.

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the language model's weights."""
        return self.text_model.get_input_embeddings().weight.dtype

    def image_span(self, ids: Tensor, seen: Seen) -> slice:
        """Where the first image's tokens are in a prompt.

        Raises:
            ValueError: if there are not as many as the image has.
        """
        places = (ids[0] == self.image_token_id).nonzero().flatten()
        count = self.token_count(seen)
        if len(places) < count:
            raise ValueError(
                f"the prompt holds {len(places)} image tokens, expected {count} an "
                "image; build it with this model's processor"
            )
        start = int(places[0])
        return slice(start, start + count)

    def embed(self, ids: Tensor, tokens: Sequence[Tensor] = ()) -> Tensor:
        """(images, tokens, hidden): words, placeholders replaced by image tokens.

        Args:
            ids: (1, tokens), the same for all images.
            tokens: (images, tokens, hidden) of each image that the prompt shows.

        Raises:
            ValueError: if there are not as many placeholders as image tokens.
        """
        embeddings = self.text_model.get_input_embeddings()(ids.to(self.device))
        if not tokens:
            return embeddings
        filled = torch.cat(list(tokens), dim=1).to(embeddings.dtype)
        places = (ids[0] == self.image_token_id).nonzero().flatten()
        if len(places) != filled.shape[1]:
            raise ValueError(
                f"the prompt has {len(places)} places for image tokens, but the "
                f"model makes {filled.shape[1]}; is its processor's patch size or "
                "feature selection another than the model's?"
            )
        self.work += Work(image_tokens=filled.shape[0] * filled.shape[1])
        embeddings = embeddings.expand(len(filled), -1, -1)
        return embeddings.index_copy(1, places.to(self.device), filled)

    def hidden(
        self,
        embeddings: Tensor,
        cache: DynamicCache,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Language model's last hidden states (images, tokens, hidden); grows cache."""
        self.work += Work(1, embeddings.shape[0] * embeddings.shape[1])
        output = self.text_model(
            inputs_embeds=embeddings,
            cache=cache,
            position_ids=positions,
            attention_mask=mask,
            use_cache=True,
        )
        return output.last_hidden_state

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores over the vocabulary."""
        return self.head(hidden)

    # The image's tokens, once for all prompts.

    def begin(self, words: Words, seen: Seen, depth: int | None = None) -> Prefix:
        """A prompt's tokens up to the end of its (first) image, not run yet.

        Args:
            words: the prompt's tokens.
            seen: the image.
            depth: layers that will be needed; None for all.
        """
        span = self.image_span(words.ids, seen)
        depth = len(self.attention) if depth is None else depth
        return Prefix(words.ids[:, : span.stop], span, depth)

    def fill(self, prefix: Prefix, words: Words, seen: Seen) -> None:
        """Run a prefix through as many layers as it is to hold."""
        cache = DynamicCache(config=self.text_model.config)
        embeddings = self.embed(prefix.ids, [self.image_tokens(seen, words)])
        # Nobody reads its hidden states: the last layer's keys and values will do.
        with capture.stop_at(self.attention[prefix.depth - 1]):
            self.hidden(embeddings, cache, self.positions(prefix.ids, [seen]))
        prefix.cache = cache

    def prefix(self, words: Words, seen: Seen, depth: int | None = None) -> Prefix:
        """``begin``, and run at once."""
        made = self.begin(words, seen, depth)
        self.fill(made, words, seen)
        return made

    def _branch(self, prompt: Prompt, depth: int | None = None) -> DynamicCache:
        """What a prompt's suffix is run behind, at least so many layers of it."""
        prefix = prompt.prefix
        depth = len(self.attention) if depth is None else depth
        if prefix.cache is None or prefix.depth < depth:
            # If interrupted, a shallower cache must not be taken for one so deep.
            prefix.depth, prefix.cache = max(prefix.depth, depth), None
            self.fill(prefix, prompt.words, prompt.seen[0])
        return kept.branch(not_none(prefix.cache))

    # Where a prompt looks, and what it says.

    def run(self, prompt: Prompt) -> tuple[Tensor, DynamicCache]:
        """Last hidden states (images, tokens, hidden) of a suffix, and its cache."""
        cache = self._branch(prompt)
        return self.hidden(prompt.suffix, cache, prompt.positions), cache

    def read_through(self, prompt: Prompt) -> Start:
        """Run a prompt's suffix to its first answer token, the map's row read on it."""
        cache = self._branch(prompt)
        module = self.attention[self.layer]
        with capture.read_rows([module], stop=False) as rows, last_token_only(self.end):
            hidden = self.hidden(prompt.suffix, cache, prompt.positions)
        place = None if prompt.positions is None else prompt.positions[..., -1:]
        return Start(self.logits(hidden[:, -1]), cache, place, rows[0])

    @torch.no_grad()
    def start(self, prompt: Prompt) -> Start:
        """A prompt at its first answer token: run once, for its map and its answer."""
        prompt.start = prompt.start or self.read_through(prompt)
        return prompt.start

    @torch.no_grad()
    def attend(self, prompt: Prompt, layers: Sequence[int]) -> list[Tensor]:
        """Attention from the prompt's last token to the image, step by step.

        Args:
            prompt: what is asked.
            layers: of the language model, in rising order; those above the last one
                are not run.

        Returns:
            (layers, images, heads, keys), the language model's, and where a connector
            made the image tokens (images, heads, tokens, patches): A_st and A_ti of
            the paper's section 4.
        """
        modules = [self.attention[layer] for layer in layers]
        cache = self._branch(prompt, layers[-1] + 1)
        with capture.read_rows(modules) as rows:
            self.hidden(prompt.suffix, cache, prompt.positions)
        first = torch.stack([rows[number] for number in range(len(layers))])
        connector = prompt.prefix.connector
        return [first] if connector is None else [first, connector]

    def trace(self, prompt: Prompt) -> tuple[Tensor, list[Tensor]]:
        """Scores of the first answer token, made from attention with gradients.

        Returns:
            (images, vocabulary), and what ``attend`` gives for the map's layer, here
            without the axis of layers, in the graph that the scores come from.
        """
        # Only the last token's row counts, so only that token is run with gradients.
        cache = kept.without_last(self.start(prompt).cache)
        last = prompt.suffix[:, -1:]
        place = None if prompt.positions is None else prompt.positions[..., -1:]
        with torch.enable_grad(), capture.trace_row(self.attention[self.layer]) as rows:
            hidden = self.hidden(last, cache, place)
            return self.logits(hidden[:, -1]), [rows[0]]

    def generate(self, prompt: Prompt, max_new_tokens: int = 20) -> list[int]:
        """Greedy continuation of a prompt of one image, without the end token."""
        return self.decode([self.start(prompt)], max_new_tokens)[0]

    @torch.no_grad()
    def decode(
        self, starts: Sequence[Start], max_new_tokens: int = 20
    ) -> list[list[int]]:
        """Greedy continuations, a token of each in one step, without the end token.

        Args:
            starts: prompts at their first answer tokens, of any lengths.
            max_new_tokens: at most so many each.
        """
        cache, mask = kept.side_by_side([start.cache for start in starts])
        place, scores = _places(starts), torch.cat([start.scores for start in starts])
        answers: list[list[int]] = [[] for _ in scores]
        going = set(range(len(answers)))
        while True:
            tokens = self.choose(scores)
            going -= {row for row in going if tokens[row] in self.end_ids}
            for row in going:
                answers[row].append(tokens[row])
            going -= {row for row in going if len(answers[row]) == max_new_tokens}
            if not going:
                return answers
            place = None if place is None else place + 1
            mask = None if mask is None else functional.pad(mask, (0, 1), value=1)
            step = self.embed(torch.tensor(tokens)[:, None])
            scores = self.logits(self.hidden(step, cache, place, mask=mask)[:, -1])

    def choose(self, scores: Tensor) -> list[int]:
        """The likeliest token of each row of (rows, vocabulary)."""
        return scores.argmax(-1).tolist()

    @property
    def end_ids(self) -> set[int]:
        """Tokens that end an answer."""
        end = self.model.generation_config.eos_token_id
        end = self.text_model.config.eos_token_id if end is None else end
        return set(end) if isinstance(end, list) else {end}


def _places(starts: Sequence[Start]) -> Tensor | None:
    """Positions of the prompts' last tokens; None where one prompt's are counted."""
    if len(starts) == 1:
        return starts[0].place
    if starts[0].place is not None:
        return torch.cat([not_none(start.place) for start in starts], -2)
    ends = [torch.full_like(one.scores[:, :1], one.length - 1) for one in starts]
    return torch.cat(ends).long()
