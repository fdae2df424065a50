"""The three ways to an answer that are compared, each from an image not seen before."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from benchmarks import plain
from vicrop.adapters.adapter import Adapter
from vicrop.types import Box
from vicrop.view import View

METHODS = ("rel-att", "grad-att", "pure-grad")
TOKENS = 4  # of an answer, as fast decoding is not the question here
QUESTION = (
    "what is the digit or letter that is on the red plate with the blue wall there ?"
)
OTHER = (
    "what is the color of the plate with the digit or letter that is in the image on "
    "the wall there ?"
)


@dataclass
class Case:
    """What is asked of a model.

    Attributes:
        vlm: under SDPA, for ours and for told.
        eager: the same model as the plain procedure has it.
        image: upright RGB.
        crop: of all ways, so that their second images are of one size.
        method: a map's key.
        view: the last one of ours.
    """

    vlm: Adapter
    eager: Adapter
    image: Image.Image
    crop: Box
    method: str
    view: View | None = None

    def told(self, question: str = QUESTION) -> list[int]:
        """The crop is handed over for free: the answer from both, in one pass."""
        pair = [self.image, self.image.crop(self.crop)]
        return plain.generate(self.vlm, pair, question, TOKENS)

    def ours(self, view: View | None = None, question: str = QUESTION) -> tuple:
        """The map, the plain answer and the answer with the crop."""
        if view is None:
            view = self.view = self.vlm.look(self.image)
        view.importance(question, self.method)
        prompts = view.prompt(question), view.prompt(question, self.crop)
        return tuple(self.vlm.generate(prompt, TOKENS) for prompt in prompts)

    def answers(self) -> tuple:
        """Ours without a map: the plain answer, and one with a crop from nowhere."""
        view = self.vlm.look(self.image)
        prompts = view.prompt(QUESTION), view.prompt(QUESTION, self.crop)
        return tuple(self.vlm.generate(prompt, TOKENS) for prompt in prompts)

    def plain(self, question: str = QUESTION) -> tuple:
        """The same, as the authors' code makes it."""
        return plain.answer(
            self.eager, self.image, question, self.method, TOKENS, self.crop
        )

    def further(self) -> tuple:
        """Ours for another question about the image that was asked about last."""
        return self.ours(self.view, OTHER)

    @property
    def tokens(self) -> dict[str, int]:
        """How long the prompt is."""
        seen = [self.vlm.look_at([self.image])]
        seen.append(self.vlm.look_at([self.image.crop(self.crop)]))
        image, crop = (self.vlm.token_count(one) for one in seen)
        words = self.vlm.words(QUESTION, seen).ids.shape[1] - image - crop
        return {
            "image_tokens": image,
            "crop_tokens": crop,
            "text_tokens": words,
            "answer_tokens": TOKENS,
        }


def photo(width: int, height: int) -> Image.Image:
    """A blotchy picture."""
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height))


def middle(image: Image.Image, side: int) -> Box:
    """A square of the picture's middle."""
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return Box(left, top, left + side, top + side)
