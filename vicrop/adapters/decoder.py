"""The decoder: sees pictures, runs prompts about them, reads what they look at.

One way for one prompt and for many. Prompts of unequal lengths are padded, and the
padding is cut out of all that is kept; it goes through the model, though, and is
counted in ``work``. In float32 a batch gives what prompts one by one give, to rounding
(tests). In half precision a batch rounds otherwise: a map's last digits, and a word
where two were all but equally likely, may differ.

Memory that runs out (``torch.OutOfMemoryError``) is the caller's to see. A prompt or a
prefix is given only what is finished, so that smaller batches can be asked next.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache

from vicrop import capture, geometry, images
from vicrop.adapters import cache as kept
from vicrop.adapters.facts import Facts
from vicrop.prompts import FirstToken, Prefix, Prompt, Seen, Words, not_none
from vicrop.types import Region, Work, check_question

Case = tuple[Words, Sequence[Seen], Prefix]
"""A prompt's words, what it shows, and the prefix of the first of that."""


class Decoder:
    """A language model that is shown pictures, behind its family's facts.

    Attributes:
        facts: what the family knows of the model.
        family: key in ``FAMILIES``.
        model: a transformers model.
        text_model: its language model without the head.
        attention: the language model's self-attention modules, lowest first.
        layer: of the map, counted from 0.
        heads: (layer, head) of ``gaze-heads``; empty where nobody has chosen any.
        image_token_id: the placeholder's.
        work: what the language model has done so far.
    """

    def __init__(self, facts: Facts, layer: int):
        self.facts, self.model, self.layer = facts, facts.model, layer
        self.family = facts.family
        self.image_token_id = self.model.config.image_token_id
        self.text_model = self.model.get_decoder()
        self.head = self.model.get_output_embeddings()
        self.attention = [one.self_attn for one in self.text_model.layers]
        self.heads: tuple[tuple[int, int], ...] = ()
        self.work = Work()

    @property
    def crop_px(self) -> int:
        """Side of the smallest crop, pixels (paper, section 5)."""
        return self.facts.crop_px

    @property
    def processor(self) -> Any:
        """The model's processor; a RuntimeError if it was wrapped without one."""
        return self.facts.processor

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return self.processor.tokenizer

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the language model's weights."""
        return self.text_model.get_input_embeddings().weight.dtype

    # Pictures.

    def visible(self, image_size: tuple[int, int], fit: str | None = None) -> Region:
        """The part of an image of (width, height) that reaches the model."""
        return geometry.visible(fit or self.facts.fit, image_size)

    def fitted(self, image: Image.Image, fit: str | None = None) -> Image.Image:
        """An image as it has to be given to the processor to be fitted that way."""
        if fit is None or fit == self.facts.fit:
            return image
        if fit == "native":
            raise ValueError(
                f"family {self.facts.family!r} takes squares only, so it cannot keep "
                "an image's own ratio; use pad, squash or centre-crop"
            )
        mean = self.processor.image_processor.image_mean
        return images.fit(image, fit, tuple(round(255 * value) for value in mean))

    def shown(self, picture: Image.Image) -> Image.Image:
        """What of a picture that is given to the processor reaches the model."""
        left, top, right, bottom = map(round, self.visible(picture.size))
        return picture.crop((left, top, right, bottom))

    @torch.no_grad()
    def look_at(
        self, pictures: Sequence[Image.Image], graph: bool = False, tokens: int = 0
    ) -> Seen:
        """Images of one size through the processor and the vision tower.

        Args:
            pictures: as they are given to the processor.
            graph: whether the way from the pixels is kept for gradients.
            tokens: that each is to be worth, more than the processor would take; 0
                for as many as it takes.

        Raises:
            ValueError: for ``tokens`` of a model that takes one size only.
        """
        pixels, grid = self._pixels(pictures, tokens)
        with torch.set_grad_enabled(graph):
            seen = self.see(pixels.requires_grad_(graph), grid, len(pictures))
        if not graph:
            return seen
        return Seen(pixels.detach(), seen.features.detach(), grid, graph=seen)

    @torch.no_grad()
    def look_apart(self, pictures: Sequence[Image.Image]) -> list[Seen]:
        """Images of any sizes as ``look_at`` sees each, the tower run once for all."""
        if not pictures:
            return []
        made = [self._pixels([one]) for one in pictures]
        grids = [grid for _, grid in made]
        features = self.facts.see(torch.cat([pixels for pixels, _ in made]), grids)
        # Clones: what is closed is freed, whoever was looked at with it.
        return [
            Seen(pixels, own[None].clone(), grid)
            for (pixels, grid), own in zip(made, features, strict=True)
        ]

    def _pixels(
        self, pictures: Sequence[Image.Image], tokens: int = 0
    ) -> tuple[Tensor, tuple]:
        if tokens:
            pixels, grid = self.facts.enlarged(pictures, tokens)
        else:
            pixels, grid = self.facts.pixels(pictures)
        return pixels.to(self.device, self.dtype), grid

    def see(self, pixels: Tensor, grid: tuple[int, int], count: int) -> Seen:
        """Vision inputs of ``count`` images of one shape through the tower."""
        features = self.facts.see(pixels, [grid] * count)
        return Seen(pixels, torch.stack(list(features)), grid)

    def graph(self, seen: Seen) -> Seen:
        """The vision tower run again on the images, for gradients to the pixels."""
        with torch.enable_grad():
            pixels = seen.pixels.detach().requires_grad_()
            return self.see(pixels, seen.grid, len(seen.features))

    # Prompts.

    def token_count(self, seen: Seen) -> int:
        """Image tokens of one image in a prompt."""
        connector = self.facts.connector
        return seen.grid[0] * seen.grid[1] if connector is None else connector.tokens

    def words(self, question: str, seen: Sequence[Seen]) -> Words:
        """The tokens of a question about images, or about an image and its crop.

        Raises:
            ValueError: for a question that is empty or no text.
        """
        counts = [self.token_count(image) for image in seen]
        return self.facts.words(check_question(question), counts)

    def _check_length(self, words: Words, answer: int = 0) -> None:
        """Refuse what is longer, with its answer, than a part of the model reads."""
        connector, most = self.facts.connector, self.text_model.config
        whole = words.ids.shape[1] + answer
        parts = [("language model", whole, most.max_position_embeddings)]
        if connector is not None and words.asked is not None:
            parts.append(("Q-Former", words.asked.shape[1], connector.most))
        for name, count, places in parts:
            if count > places:
                raise ValueError(
                    f"the {name} would read {count} tokens of at most {places}; ask a "
                    "shorter question, or for a shorter answer"
                )

    def begin(self, words: Words, seen: Seen, depth: int | None = None) -> Prefix:
        """A prompt's tokens up to the end of its (first) image, not run yet.

        Args:
            words: the prompt's tokens.
            seen: the image.
            depth: layers that will be needed; None for all.

        Raises:
            ValueError: if the prompt has fewer placeholders than the image has tokens.
        """
        places = (words.ids[0] == self.image_token_id).nonzero().flatten()
        count = self.token_count(seen)
        if len(places) < count:
            raise ValueError(
                f"the prompt holds {len(places)} image tokens, expected {count} an "
                "image; build it with this model's processor"
            )
        span = slice(int(places[0]), int(places[0]) + count)
        depth = len(self.attention) if depth is None else depth
        return Prefix(words.ids[:, : span.stop], span, depth)

    @torch.no_grad()
    def prompt(
        self, question: str, seen: Sequence[Seen], prefix: Prefix | None = None
    ) -> Prompt:
        """A question about an image, or about an image and its crop; not run yet."""
        words = self.words(question, seen)
        return self.follow([(words, seen, prefix or self.begin(words, seen[0]))])[0]

    @torch.no_grad()
    def read(self, inputs: Any, prefix: Prefix | None = None) -> Prompt:
        """A prompt from what the processor returns (input_ids, pixel_values, …).

        Raises:
            ValueError: if that is not one unpadded prompt about one image.
        """
        words, pixels, grid = self.facts.unpack(inputs)
        mask = inputs.get("attention_mask")
        if len(words.ids) != 1 or (mask is not None and not mask.bool().all()):
            raise ValueError(
                f"expected one prompt without padding, got input_ids of shape "
                f"{tuple(words.ids.shape)}; give prompts one by one"
            )
        seen = self.see(pixels.to(self.device, self.dtype), grid, 1)
        places = int((words.ids == self.image_token_id).sum())
        if len(seen.features) != 1 or places > self.token_count(seen):
            raise ValueError(
                f"a map is of one image: got {len(seen.features)} images and {places} "
                f"image tokens, expected {self.token_count(seen)} tokens of one"
            )
        if prefix is None or words.key is not None:  # it read another question
            prefix = self.begin(words, seen)
        return self.follow([(words, [seen], prefix)])[0]

    def follow(self, cases: Sequence[Case]) -> list[Prompt]:
        """Prompts as what follows their prefixes.

        Raises:
            ValueError: for a prompt that is longer than the model takes.
            RuntimeError: if a prompt's tokens do not begin with its prefix's.
        """
        for asked, _, _ in cases:
            self._check_length(asked)
        crops = [crop for _, seen, _ in cases for crop in seen[1:]]
        words = [words for words, seen, _ in cases for _ in seen[1:]]
        # Nobody reads where a connector looks in a crop: its own attention will do.
        made = iter(self.connect(crops, words, False) if crops else ())
        return [
            self._follow(*case, [next(made)[0] for _ in case[1][1:]]) for case in cases
        ]

    def _follow(
        self, words: Words, seen: Sequence[Seen], prefix: Prefix, crops: list[Tensor]
    ) -> Prompt:
        length = prefix.ids.shape[1]
        if not torch.equal(words.ids[:, :length], prefix.ids):
            raise RuntimeError(
                "the prompt does not begin with the kept image tokens; was the view "
                "made with another prompt or processor?"
            )
        suffix = self.embed(words.ids[:, length:], crops)
        suffix = suffix.expand(len(seen[0].features), -1, -1)
        positions = self._positions(words.ids, seen)
        if positions is not None:
            positions = positions[..., length:]
        return Prompt(words, list(seen), prefix, suffix, positions)

    def _positions(self, ids: Tensor, seen: Sequence[Seen]) -> Tensor | None:
        places = self.facts.positions(ids, [image.grid for image in seen])
        if places is None:
            return None
        return places.expand(-1, len(seen[0].features), -1).to(self.device)

    # What goes through the model.

    def connect(
        self, seen: Sequence[Seen], words: Sequence[Words], traced: bool = True
    ) -> list[tuple[Tensor, Tensor | None]]:
        """Image tokens of several images, each asked about in words of its own.

        Returns:
            Of each, (images, tokens, hidden), and a connector's attention as a
            ``Prefix`` keeps it; None if there is none, or it is not to be ``traced``.
        """
        connector = self.facts.connector
        if connector is None:
            return [(image.features, None) for image in seen]
        counts = [len(image.features) for image in seen]
        rows = [
            not_none(one.asked)[0]
            for one, count in zip(words, counts, strict=True)
            for _ in range(count)
        ]
        asked = pad_sequence(rows, batch_first=True)
        mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
        features = torch.cat([image.features for image in seen])
        module = connector.attention[connector.layer]
        with capture.trace_all(module) if traced else nullcontext() as cross:
            made = connector.read(features, asked.to(self.device), mask.to(self.device))
        steps = [None] * len(seen) if cross is None else _each(cross[0], counts)
        return list(zip(_each(made, counts), steps, strict=True))

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
        return self.finite(self.head(hidden), "scores")

    def finite(self, values: Tensor, what: str) -> Tensor:
        """Values, if they are; else a ValueError: what overflows says nothing."""
        if values.device.type != "meta" and not values.isfinite().all():
            raise ValueError(
                f"the model's {what} are not finite in {self.dtype}, which some number "
                "on the way was too large for; load it in bfloat16 or float32"
            )
        return values

    # Prefixes: padded on the right, where no token of a causal model looks.

    def _fill(self, prompts: Sequence[Prompt], depth: int) -> None:
        """Run the prefixes that hold fewer layers, those of one depth at once."""
        by_depth: dict[int, dict[Prefix, Prompt]] = {}
        for prompt in prompts:
            prefix = prompt.prefix
            if prefix.cache is None or prefix.depth < depth:
                by_depth.setdefault(max(prefix.depth, depth), {})[prefix] = prompt
        for common, lacking in by_depth.items():
            self._fill_to(list(lacking.values()), common)

    def _fill_to(self, prompts: Sequence[Prompt], depth: int) -> None:
        """Prefixes through so many layers; none is changed before all are run."""
        prefixes = [one.prefix for one in prompts]
        read = self.connect([p.seen[0] for p in prompts], [p.words for p in prompts])
        embeddings = [
            self.embed(one.ids, [tokens])
            for one, (tokens, _) in zip(prefixes, read, strict=True)
        ]
        places = [self._positions(one.prefix.ids, one.seen[:1]) for one in prompts]
        positions = None
        if places[0] is not None:
            positions = kept.batch(map(not_none, places), -1, -2, after=True)
        cache = DynamicCache(config=self.text_model.config)
        # Nobody reads its hidden states: the last layer's keys and values will do.
        with capture.stop_at(self.attention[depth - 1]):
            self.hidden(kept.batch(embeddings, -2, after=True), cache, positions)
        cuts = [
            kept.Cut(cut.rows, (slice(one.ids.shape[1]),))
            for one, cut in zip(prefixes, _cuts(prompts), strict=True)
        ]
        caches = kept.apart(cache, cuts)
        for prefix, own, (_, step) in zip(prefixes, caches, read, strict=True):
            prefix.depth, prefix.cache, prefix.connector = depth, own, step

    # Suffixes: padded on the left, so that the last token is every prompt's own last.

    def _suffixes(
        self, prompts: Sequence[Prompt], depth: int | None = None
    ) -> tuple[Tensor, DynamicCache]:
        """Last hidden states of suffixes behind so many layers of prefixes; the cache.

        Both are of the batch: padding, prefix, padding, suffix.
        """
        caches = [not_none(one.prefix.cache) for one in prompts]
        cache, mask = kept.side_by_side(caches, depth)
        if mask is not None:
            ones = [mask.new_ones(one.suffix.shape[:2]) for one in prompts]
            mask = torch.cat([mask, kept.batch(ones, -1)], 1)
        places = prompts[0].positions
        if len(prompts) > 1:
            places = kept.batch(map(_counted, prompts), -1, -2)
        suffixes = kept.batch([one.suffix for one in prompts], -2)
        return self.hidden(suffixes, cache, places, mask), cache

    # Where prompts look, and what they say.

    @torch.no_grad()
    def run(self, prompts: Sequence[Prompt], words: bool = False) -> list[FirstToken]:
        """Run prompts to their first answer tokens, for their maps and their answers.

        Args:
            prompts: about any images, or images and crops, of any lengths; what was
                run already is not run again.
            words: whether what all words look at is read along, in every layer.
        """
        waiting = [
            one
            for one in dict.fromkeys(prompts)
            if one.first is None or (words and one.first.words is None)
        ]
        if waiting:
            made = self._first(waiting, words=words)
            for prompt, first in zip(waiting, made, strict=True):
                prompt.first = first
        return [not_none(one.first) for one in prompts]

    def _first(
        self, prompts: Sequence[Prompt], traced: bool = False, words: bool = False
    ) -> list[FirstToken]:
        """``run``, nothing kept; ``traced``: the map's row is one with a gradient."""
        self._fill(prompts, len(self.attention))
        module, top = self.attention[self.layer], self.text_model.layers[-1]
        if words:
            read = capture.read_rows(self.attention, False, capture.all_rows)
        elif traced:
            read = capture.trace_row(module)
        else:
            read = capture.read_rows([module], False)
        # Nobody reads the other tokens of the last layer.
        with read as rows, capture.last_token_only([top.self_attn.o_proj, top.mlp]):
            hidden, cache = self._suffixes(prompts)
        cuts, counts = _cuts(prompts), [len(one.suffix) for one in prompts]
        looked = self._words(prompts, rows) if words else [None] * len(prompts)
        # Of the last token, heads are not told apart where all words were read.
        last = rows[self.layer][:, -1:] if words else rows[0]
        scores = _each(self.logits(hidden[:, -1]), counts)
        caches, own = kept.apart(cache, cuts), kept.parted(last, cuts)
        places = [
            None if one.positions is None else one.positions[..., -1:]
            for one in prompts
        ]
        return list(map(FirstToken, scores, caches, places, own, looked))

    def _words(
        self, prompts: Sequence[Prompt], rows: Mapping[int, Tensor]
    ) -> list[Tensor]:
        """Each prompt's own of what was read of a batch (see ``attend_all``)."""
        read = [
            kept.parted(self.finite(rows[number], "attention weights"), _cuts(prompts))
            for number in range(len(self.attention))
        ]
        return [
            torch.stack([row[:, -len(one.suffix[0]) :, one.prefix.span] for row in own])
            for one, *own in zip(prompts, *read, strict=True)
        ]

    @torch.no_grad()
    def attend_all(self, prompts: Sequence[Prompt]) -> list[Tensor]:
        """What every token behind the image attends to, in every layer.

        Of prompts that will be answered, read on the answer's own pass.

        Returns:
            (layers, images, tokens, image tokens) of each prompt, mean over heads.
        """
        if all(prompt.answered for prompt in prompts):
            return [not_none(one.words) for one in self.run(prompts, words=True)]
        self._fill(prompts, len(self.attention))
        with capture.read_rows(self.attention, row=capture.all_rows) as rows:
            self._suffixes(prompts)
        return self._words(prompts, rows)

    @torch.no_grad()
    def attend(self, prompts: Sequence[Prompt], layers: Sequence[int]) -> list[Tensor]:
        """What the prompts' last tokens attend to; above the last layer nothing is run.

        Args:
            prompts: what is asked.
            layers: of the language model, in rising order.

        Returns:
            (layers, images, heads, keys) of each prompt: A_st of the paper's section 4.
            A_ti, where a connector made the image tokens, is then in its prefix.
        """
        depth = layers[-1] + 1
        self._fill(prompts, depth)
        with capture.read_rows([self.attention[layer] for layer in layers]) as rows:
            self._suffixes(prompts, depth)
        read = [
            kept.parted(self.finite(rows[number], "attention weights"), _cuts(prompts))
            for number in range(len(layers))
        ]
        return [torch.stack(own) for own in zip(*read, strict=True)]

    def trace(self, prompt: Prompt) -> tuple[Tensor, list[Tensor]]:
        """Scores of the first answer token, made from attention with gradients.

        Returns:
            (images, vocabulary), and in the graph that they come from (images, heads,
            keys) of the map's layer; then, where a connector made the image tokens,
            (images, heads, tokens, patches).
        """
        if self.facts.connector is not None:  # from its attention on; not the tower
            prefix = self.begin(prompt.words, prompt.seen[0])
            first = self._anew(prompt, prompt.seen[0], prefix, traced=True)
            return first.scores, [first.row, not_none(prefix.connector)]
        # Only the last token's row counts, so only that token is run with gradients.
        (first,) = self.run([prompt])
        cache, last = kept.without_last(first.cache), prompt.suffix[:, -1:]
        with torch.enable_grad(), capture.trace_row(self.attention[self.layer]) as rows:
            hidden = self.hidden(last, cache, first.place)
            return self.logits(hidden[:, -1]), [rows[0]]

    def trace_pixels(self, prompt: Prompt) -> tuple[Tensor, Tensor]:
        """Scores of the first answer token, and the pixels that they were made from.

        What the image's ``graph`` holds already is not run again.

        Returns:
            (images, vocabulary), and the vision tower's input, a leaf of their graph.
        """
        graph = prompt.seen[0].graph or self.graph(prompt.seen[0])
        prefix = self.begin(prompt.words, graph)
        prefix = graph.prefixes.setdefault(prompt.words.key, prefix)
        return self._anew(prompt, graph, prefix).scores, graph.pixels

    def trace_features(self, prompt: Prompt) -> tuple[Tensor, Tensor]:
        """Scores of the first answer token, and the features that they were made from.

        Returns:
            (images, vocabulary), and (images, tokens, hidden) of the vision tower, a
            leaf of their graph.
        """
        seen = prompt.seen[0]
        features = seen.features.detach().requires_grad_()
        leaf = Seen(seen.pixels, features, seen.grid)
        prefix = self.begin(prompt.words, leaf)
        return self._anew(prompt, leaf, prefix).scores, features

    def _anew(
        self, prompt: Prompt, seen: Seen, prefix: Prefix, traced: bool = False
    ) -> FirstToken:
        """A prompt run with a graph; its answer goes on from there without one."""
        with torch.enable_grad():
            (first,) = self._first(
                self.follow([(prompt.words, [seen], prefix)]), traced
            )
        own = prompt.prefix
        if own.cache is None:
            own.depth, own.cache = prefix.depth, kept.detached(not_none(prefix.cache))
            step = prefix.connector
            own.connector = None if step is None else step.detach()
        if prompt.answered and prompt.first is None:
            cache, row = kept.detached(first.cache), first.row.detach()
            prompt.first = FirstToken(first.scores.detach(), cache, first.place, row)
        return first

    def answer(self, prompts: Sequence[Prompt], max_new_tokens: int = 20) -> list[str]:
        """Greedy answers to prompts of one image each (or an image and its crop)."""
        for prompt in prompts:
            self._check_length(prompt.words, max_new_tokens)
        return [*map(self.text, self.decode(self.run(prompts), max_new_tokens))]

    def text(self, tokens: Sequence[int]) -> str:
        """An answer's tokens as text."""
        return self.tokenizer.decode(tokens, skip_special_tokens=True).strip()

    @torch.no_grad()
    def decode(
        self, firsts: Sequence[FirstToken], max_new_tokens: int = 20
    ) -> list[list[int]]:
        """Greedy continuations, a token of each in one step, without the end token.

        Args:
            firsts: of prompts of any lengths.
            max_new_tokens: at most so many each.
        """
        cache, mask = kept.side_by_side([first.cache for first in firsts])
        place, scores = _last(firsts), torch.cat([first.scores for first in firsts])
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


# Batches.


def _each(tensor: Tensor, counts: Sequence[int]) -> list[Tensor]:
    """A batch's rows prompt by prompt; of several, in memory of their own."""
    if len(counts) == 1:
        return [tensor]
    return [part.clone() for part in tensor.split(list(counts))]


def _cuts(prompts: Sequence[Prompt]) -> list[kept.Cut]:
    """Where each prompt is in their batch: its rows, its prefix and its suffix."""
    return kept.cuts(
        [len(one.suffix) for one in prompts],
        [one.prefix.ids.shape[1] for one in prompts],
        [one.suffix.shape[1] for one in prompts],
    )


def _counted(prompt: Prompt) -> Tensor:
    """Positions of a suffix, counted where the model would count them."""
    if prompt.positions is not None:
        return prompt.positions
    rows, tokens = prompt.suffix.shape[:2]
    first = prompt.prefix.ids.shape[1]
    counted = torch.arange(first, first + tokens, device=prompt.suffix.device)
    return counted.expand(rows, -1)


def _last(firsts: Sequence[FirstToken]) -> Tensor | None:
    """Positions of the prompts' last tokens; None where one prompt's are counted."""
    if len(firsts) == 1:
        return firsts[0].place
    if firsts[0].place is not None:
        return torch.cat([not_none(first.place) for first in firsts], -2)
    ends = [(one.scores[:, :1], one.cache.get_seq_length() - 1) for one in firsts]
    return torch.cat([torch.full_like(*end) for end in ends]).long()
