"""Words about images as prompts for the language model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from vicrop.adapters.language import Language
from vicrop.prompts import Prefix, Prompt, Seen, Words
from vicrop.types import check_question


class Prompting(Language):
    """Turns questions, or what a processor returns, into prompts.

    Attributes:
        family: key in ``FAMILIES``.
        most_images: that one prompt may show.
    """

    family: ClassVar[str]
    most_images: ClassVar[int] = 2
    _processor: Any = None

    # What a family says.

    @abstractmethod
    def see(self, pixels: Tensor, grid: tuple[int, int]) -> Seen:
        """Run the vision tower (gradients flow where they are enabled)."""

    @abstractmethod
    def words(self, question: str, seen: Sequence[Seen]) -> Words:
        """The whole prompt's tokens, as the family's processor writes them."""

    @abstractmethod
    def unpack(self, inputs: Any) -> tuple[Words, Tensor, tuple[int, int]]:
        """Tokens, vision input and grid of what the processor returns."""

    # What all families share.

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
        self,
        words: Words,
        seen: Sequence[Seen],
        prefix: Prefix | None = None,
        tokens: Sequence[Tensor] | None = None,
    ) -> Prompt:
        """A prompt's tokens as what follows a prefix, kept or (None) yet to be run.

        Args:
            words: the whole prompt's tokens.
            seen: what it shows.
            prefix: of the (first) images.
            tokens: (images, tokens, hidden) of each further image, if made already.

        Raises:
            RuntimeError: if the tokens do not begin with the prefix's.
        """
        prefix = self.begin(words, seen[0]) if prefix is None else prefix
        length = prefix.ids.shape[1]
        if not torch.equal(words.ids[:, :length], prefix.ids):
            raise RuntimeError(
                "the prompt does not begin with the kept image tokens; was the view "
                "made with another prompt or processor?"
            )
        if tokens is None:
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

    def text(self, tokens: list[int]) -> str:
        """An answer's tokens as text."""
        return self.tokenizer.decode(tokens, skip_special_tokens=True).strip()

    def tokenize(self, text: str) -> Tensor:
        """(1, tokens) of a prompt's text, with the tokenizer's own special tokens."""
        return self.tokenizer(text, return_tensors="pt")["input_ids"]

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
