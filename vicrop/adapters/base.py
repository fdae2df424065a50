"""What a model family must offer, and the registry of families.

A new family is one file with a subclass of ``Adapter``; a new model is one line in
``MODELS``. What differs between families is here as methods to override, each with the
usual answer: image tokens in the prompt's embeddings, then a causal language model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import transformers
from PIL import Image
from torch import Tensor, nn
from transformers import DynamicCache

from vicrop import capture, geometry, images
from vicrop.adapters.parts import Prefix, Prompt, Seen, Words
from vicrop.types import Region, check_question

if TYPE_CHECKING:
    from vicrop.view import View

GENERAL_QUESTION = "Write a general description of the image."
"""The paper's q', whose map divides out what is looked at whatever is asked."""

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


class Adapter(ABC):
    """A model and its processor behind the few verbs that the method needs.

    Attributes:
        family: key in ``FAMILIES``.
        architecture: name of the transformers class.
        processor_class: name of its processor's class.
        default_layer: of the map, counted from 0 (paper, section 6).
        options: keyword arguments beyond these that the family takes.
        refused: why related architectures cannot be used, by the class's name.
        most_images: that one prompt may show.
        model: a transformers model, in evaluation mode, its weights frozen.
        layer: of the map, counted from 0.
    """

    family: ClassVar[str]
    architecture: ClassVar[str]
    processor_class: ClassVar[str]
    default_layer: ClassVar[int]
    options: ClassVar[tuple[str, ...]] = ()
    refused: ClassVar[dict[str, str]] = {}
    most_images: ClassVar[int] = 2

    def __init__(
        self, model: nn.Module, processor: Any = None, layer: int | None = None
    ):
        self.check_class(type(model).__name__)
        if processor is not None:
            self._check_processor(processor)
        # Frozen: gradients go to attention and pixels, never to weights.
        self.model = model.eval().requires_grad_(False)
        self._processor = processor
        if self.dtype not in DTYPES.values():
            raise ValueError(
                f"the model's weights are {self.dtype}; maps and answers need one of "
                f"{', '.join(DTYPES)}"
            )
        self.layer = self.default_layer if layer is None else layer
        if not 0 <= self.layer < len(self.attention):
            raise ValueError(
                f"layer {self.layer} is not one of this model's layers, counted from "
                f"0 to {len(self.attention) - 1}"
            )

    @classmethod
    def check_class(cls, found: str) -> None:
        """Refuse a model of another class than the family's.

        Raises:
            ValueError: saying why, where the class is a known relative.
        """
        if found == cls.architecture:
            return
        reason = cls.refused.get(found)
        raise ValueError(
            f"family {cls.family!r} is {cls.architecture}, but the model is a {found}"
            + (f", {reason}" if reason else "")
            + f"; pass the family that fits it (known: {', '.join(FAMILIES)})"
        )

    def _check_processor(self, processor: Any) -> None:
        found = type(processor).__name__
        if found != self.processor_class:
            raise ValueError(
                f"family {self.family!r} wants a {self.processor_class}, but the "
                f"processor is a {found}; load it from the model's own folder"
            )

    @classmethod
    def model_class(cls) -> type[nn.Module]:
        """The transformers class of the family's architecture."""
        return getattr(transformers, cls.architecture)

    @classmethod
    def load_processor(cls, source: str, **where: Any) -> Any:
        """The processor of a checkpoint, from a folder or the hub."""
        return transformers.AutoProcessor.from_pretrained(
            source, backend="pil", trust_remote_code=False, **where
        )

    # What a family says.

    @property
    @abstractmethod
    def crop_px(self) -> int:
        """Side of the smallest crop, pixels: the vision input's (paper, section 5)."""

    @property
    @abstractmethod
    def patch_px(self) -> int:
        """Side of a map's cell in the vision input, pixels."""

    @property
    @abstractmethod
    def fit(self) -> str:
        """How the processor fits an image (see ``geometry.region``)."""

    @abstractmethod
    def pixels(self, pictures: Sequence[Image.Image]) -> tuple[Tensor, tuple[int, int]]:
        """The vision tower's input for RGB images of one size, and the map's grid."""

    @abstractmethod
    def see(self, pixels: Tensor, grid: tuple[int, int]) -> Seen:
        """Run the vision tower (gradients flow where they are enabled)."""

    @abstractmethod
    def words(self, question: str, seen: Sequence[Seen]) -> Words:
        """The whole prompt's tokens, as the family's processor writes them."""

    @abstractmethod
    def unpack(self, inputs: Any) -> tuple[Words, Tensor, tuple[int, int]]:
        """Tokens, vision input and grid of what the processor returns."""

    # What most families say alike.

    @property
    def text_model(self) -> nn.Module:
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

    def picture(self, pixels: Tensor, grid: tuple[int, int]) -> Tensor:
        """Something in the vision input's layout as (images, channels, height, width).

        ``height`` and ``width`` are multiples of the grid's rows and columns: what a
        vision tower drops at the edges is left out.
        """
        height, width = (
            length // cells * cells
            for length, cells in zip(pixels.shape[-2:], grid, strict=True)
        )
        return pixels[..., :height, :width]

    # What all families share.

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the language model's weights."""
        return self.text_model.get_input_embeddings().weight.dtype

    @property
    def processor(self) -> Any:
        """The model's processor.

        Raises:
            RuntimeError: if the model was wrapped without one.
        """
        if self._processor is None:
            raise RuntimeError(
                "this model was wrapped without a processor, so it can only take "
                "ready-made inputs; pass processor= to vicrop.adapters.wrap"
            )
        return self._processor

    @property
    def tokenizer(self):
        """The processor's tokenizer."""
        return self.processor.tokenizer

    def look(
        self,
        image: images.ImageLike,
        fit: str | None = None,
        geometry: str = "exact",
    ) -> View:
        """Encode an image once, for any number of questions.

        Args:
            image: a path, a PIL image or an array.
            fit: ``pad``, ``squash`` or ``centre-crop`` to fit it otherwise than the
                model's processor does; None for the processor's way.
            geometry: ``exact``, or ``upstream`` to lay maps over the whole image
                whatever the model sees of it, as the authors' code does.

        Raises:
            ValueError: for an image that cannot be read or is smaller than a patch, or
                an unknown fit or geometry.
        """
        from vicrop.view import View

        return View(self, images.load(image), fit, geometry)

    def visible(self, image_size: tuple[int, int], fit: str | None = None) -> Region:
        """The part of an image of (width, height) that reaches the model."""
        return geometry.visible(fit or self.fit, image_size)

    def fitted(self, image: Image.Image, fit: str | None = None) -> Image.Image:
        """An image as it has to be given to the processor to be fitted that way."""
        if fit is None or fit == self.fit:
            return image
        if fit == "native":
            raise ValueError(
                f"family {self.family!r} takes squares only, so it cannot keep an "
                "image's own ratio; use pad, squash or centre-crop"
            )
        mean = self.processor.image_processor.image_mean
        return images.fit(image, fit, tuple(round(255 * value) for value in mean))

    def shown(self, picture: Image.Image) -> Image.Image:
        """What of a picture that is given to the processor reaches the model."""
        return picture.crop(tuple(map(round, self.visible(picture.size))))

    @torch.no_grad()
    def look_at(self, pictures: Sequence[Image.Image]) -> Seen:
        """Images of one size through the processor and the vision tower."""
        return self.see(*self.pixels(pictures))

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
        embeddings = self.text_model.get_input_embeddings()(ids)
        if not tokens:
            return embeddings
        filled = torch.cat(list(tokens), dim=1).to(embeddings.dtype)
        embeddings = embeddings.expand(len(filled), -1, -1)
        places = ids == self.image_token_id
        if int(places.sum()) != filled.shape[1]:
            raise ValueError(
                f"the prompt has {int(places.sum())} places for image tokens, but the "
                f"model makes {filled.shape[1]}; is its processor's patch size or "
                "feature selection another than the model's?"
            )
        return embeddings.masked_scatter(
            places[..., None].expand_as(embeddings), filled
        )

    def hidden(
        self, embeddings: Tensor, cache: DynamicCache, positions: Tensor | None = None
    ) -> Tensor:
        """Language model's last hidden states (images, tokens, hidden); grows cache."""
        output = self.text_model(
            inputs_embeds=embeddings,
            cache=cache,
            position_ids=positions,
            use_cache=True,
        )
        return output.last_hidden_state

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores over the vocabulary."""
        return self.head(hidden)

    def prefix(self, words: Words, seen: Seen) -> Prefix:
        """Run a prompt's tokens up to the end of its (first) image."""
        span = self.image_span(words.ids, seen)
        head = words.ids[:, : span.stop]
        cache = DynamicCache(config=self.text_model.config)
        embeddings = self.embed(head, [self.image_tokens(seen, words)])
        self.hidden(embeddings, cache, self.positions(head, [seen]))
        return Prefix(cache, head, span)

    @torch.no_grad()
    def prompt(
        self, question: str, seen: Sequence[Seen], prefix: Prefix | None = None
    ) -> Prompt:
        """A question about an image, or about an image and its crop.

        Raises:
            ValueError: for an empty question, or more images than the family takes.
        """
        return self.follow(self.checked_words(question, seen), seen, prefix)

    def checked_words(self, question: str, seen: Sequence[Seen]) -> Words:
        """``words``, if the question and the number of images can be asked.

        Raises:
            ValueError: for an empty question, or more images than the family takes.
        """
        if len(seen) > self.most_images:
            raise ValueError(
                f"family {self.family!r} takes {self.most_images} image in a prompt, "
                f"got {len(seen)}; it cannot answer from an image and its crop"
            )
        return self.words(check_question(question), seen)

    def follow(
        self, words: Words, seen: Sequence[Seen], prefix: Prefix | None = None
    ) -> Prompt:
        """A prompt's tokens as what follows a kept prefix.

        Raises:
            RuntimeError: if the tokens do not begin with the prefix's.
        """
        prefix = self.prefix(words, seen[0]) if prefix is None else prefix
        length = prefix.ids.shape[1]
        if not torch.equal(words.ids[:, :length], prefix.ids):
            raise RuntimeError(
                "the prompt does not begin with the kept image tokens; was the view "
                "made with another prompt or processor?"
            )
        tokens = [self.image_tokens(image, words) for image in seen[1:]]
        suffix = self.embed(words.ids[:, length:], tokens)
        suffix = suffix.expand(len(seen[0].features), -1, -1)
        positions = self.positions(words.ids, seen)
        if positions is not None:
            positions = positions[..., length:]
        return Prompt(words, list(seen), prefix, suffix, positions)

    @torch.no_grad()
    def read(self, inputs: Any, prefix: Prefix | None = None) -> Prompt:
        """A prompt from what the processor returns (input_ids, pixel_values, …).

        Raises:
            ValueError: if that is not one unpadded prompt about one image.
        """
        words, pixels, grid = self.unpack(inputs)
        self._check_single(inputs, words)
        if prefix is not None and self.prefix_key(words) is not None:
            prefix = None  # the connector read another question
        seen = self.see(pixels, grid)
        places = int((words.ids == self.image_token_id).sum())
        if len(seen.features) != 1 or places > self.token_count(seen):
            raise ValueError(
                f"a map is of one image: got {len(seen.features)} images and {places} "
                f"image tokens, expected {self.token_count(seen)} tokens of one"
            )
        return self.follow(words, [seen], prefix)

    def _check_single(self, inputs: Any, words: Words) -> None:
        mask = inputs.get("attention_mask")
        if len(words.ids) != 1 or (mask is not None and not mask.bool().all()):
            raise ValueError(
                f"expected one prompt without padding, got input_ids of shape "
                f"{tuple(words.ids.shape)}; give prompts one by one"
            )

    def run(self, prompt: Prompt) -> tuple[Tensor, DynamicCache]:
        """Last hidden states (images, tokens, hidden) of a suffix, and its cache."""
        cache = capture.branch(prompt.prefix.cache)
        return self.hidden(prompt.suffix, cache, prompt.positions), cache

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
        modules = self.attention
        with capture.read_rows([modules[layer] for layer in layers]) as rows:
            self.run(prompt)
        first = torch.stack([rows[number] for number in range(len(layers))])
        connector = prompt.prefix.connector
        return [first] if connector is None else [first, connector]

    def trace(self, prompt: Prompt) -> tuple[Tensor, list[Tensor]]:
        """Scores of the first answer token, made from attention with gradients.

        Returns:
            (images, vocabulary), and what ``attend`` gives for the map's layer, here
            without the axis of layers, in the graph that the scores come from.
        """
        cache = capture.branch(prompt.prefix.cache)
        before, last = prompt.suffix[:, :-1], prompt.suffix[:, -1:]
        places = prompt.positions
        # Only the last token's row counts, so only that token is run with gradients.
        if before.shape[1]:
            with torch.no_grad():
                self.hidden(before, cache, None if places is None else places[..., :-1])
        with torch.enable_grad(), capture.trace_row(self.attention[self.layer]) as rows:
            end = None if places is None else places[..., -1:]
            hidden = self.hidden(last, cache, end)
            return self.logits(hidden[:, -1]), [rows[0]]

    @torch.no_grad()
    def generate(self, prompt: Prompt, max_new_tokens: int = 20) -> list[int]:
        """Greedy continuation of a prompt of one image, without the end token."""
        hidden, cache = self.run(prompt)
        place = None if prompt.positions is None else prompt.positions[..., -1:]
        ends = self.end_ids
        tokens: list[int] = []
        while True:
            token = int(self.logits(hidden[:, -1:]).argmax())
            if token in ends:
                return tokens
            tokens.append(token)
            if len(tokens) == max_new_tokens:
                return tokens
            step = self.embed(torch.tensor([[token]], device=self.device))
            place = None if place is None else place + 1
            hidden = self.hidden(step, cache, place)

    @property
    def end_ids(self) -> set[int]:
        """Tokens that end an answer."""
        end = self.model.generation_config.eos_token_id
        end = self.text_model.config.eos_token_id if end is None else end
        return set(end) if isinstance(end, list) else {end}

    def text(self, tokens: list[int]) -> str:
        """An answer's tokens as text."""
        return self.tokenizer.decode(tokens, skip_special_tokens=True).strip()

    def tokenize(self, text: str) -> Tensor:
        """(1, tokens) of a prompt's text, with the tokenizer's own special tokens."""
        return self.tokenizer(text, return_tensors="pt")["input_ids"].to(self.device)

    def check_placeholder(self, question: str, token: str) -> None:
        """Refuse a question that holds the image placeholder.

        Raises:
            ValueError: naming the question and the token.
        """
        if token in question:
            raise ValueError(
                f"the question {question!r} holds {token}, which stands for an image; "
                "leave it out"
            )


FAMILIES: dict[str, type[Adapter]] = {}
"""Adapter classes by family; ``register`` fills it."""


def register(adapter: type[Adapter]) -> type[Adapter]:
    """Class decorator: make a family known."""
    FAMILIES[adapter.family] = adapter
    return adapter
