"""A View: an image that a model has looked at once. Look, map, crop, ask."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from vicrop import attribution, gate, geometry, images
from vicrop.adapters import cache as kept
from vicrop.attribution import GENERAL_QUESTION, Attribution
from vicrop.prompts import Prompt, Seen
from vicrop.types import Answer, Box, Map, Region, Shown, check_question, known, whole

if TYPE_CHECKING:
    from vicrop.adapters.decoder import Case, Decoder

GEOMETRIES = ("exact", "upstream")


class View:
    """Asks and looks without encoding the image again.

    Kept: what ``Pictures`` keep of the image and of its tiles, maps made and what was
    answered. ``close``, or leaving a ``with`` block, frees all of it.

    Attributes:
        vlm: the model.
        image: upright RGB.
        geometry: ``exact`` or ``upstream`` (see ``Adapter.look``).
        whole: the image as one picture.
    """

    def __init__(
        self,
        vlm: Decoder,
        image: Image.Image,
        fit: str | None = None,
        geometry: str = "exact",
    ):
        known(geometry, GEOMETRIES, "geometry")
        self.vlm, self.image, self.geometry = vlm, image, geometry
        self._fit = fit
        self.whole = Pictures(vlm, [self._fitted(image)], geometry)
        self._tiles: dict[int, list[tuple[list[int], Pictures]]] = {}
        self._said: dict[tuple[str, Shown | None, int], str] = {}
        self._features: dict[str, dict[str, float]] = {}
        self._maps: dict[tuple[str, str], Map] = {}

    @property
    def fit(self) -> str:
        """How the image is fitted to the model's input."""
        return self._fit or self.vlm.facts.fit

    @cached_property
    def tiles(self) -> images.Tiles:
        """Boxes that the high-resolution variants look at one by one."""
        return images.tile(self.image.size)

    def part(self, crop: Box, change: str = "none") -> Image.Image:
        """A crop as it is given to the processor; ``change`` as in ``Part``."""
        made = images.CHANGES[known(change, images.CHANGES, "change")]
        return self._fitted(made(self.image, crop))

    def _fitted(self, image: Image.Image) -> Image.Image:
        fitted, facts = self.vlm.fitted(image, self._fit), self.vlm.facts
        images.check_shape(fitted.size, facts.fit, facts.crop_px)
        return fitted

    def ask(
        self,
        question: str,
        crop: Box | Shown | None = None,
        max_new_tokens: int = 20,
    ) -> Answer:
        """The model's greedy answer from the image, or from [image, crop].

        Args:
            question: the question, without the prompt around it.
            crop: a box in pixels of the original image; or other pictures beside it.
            max_new_tokens: at most so many.

        Raises:
            ValueError: for a question that is empty or longer than the model reads, a
                box that leaves the image, or no token to answer with.
        """
        shown = Shown.of(crop)
        # One after the other: in half precision a batch rounds otherwise, and the
        # plain answer must not depend on the crop. What may be too long comes first.
        (text,) = answer([(self, question, shown)], max_new_tokens)
        (plain,) = answer([(self, question, None)], max_new_tokens)
        visible = self.vlm.visible(self.image.size, self._fit)
        crops = tuple(part.box for part in shown.parts) if shown else ()
        first, features = crops[0] if crops else None, self.features(question)
        return Answer(text, plain, first, None, visible, crops[1:], features)

    def features(self, question: str) -> dict[str, float]:
        """How sure the plain answer's first token is (see ``gate.of_scores``)."""
        if question not in self._features:
            (first,) = self.vlm.run([self.whole.ask(question)])
            self._features[question] = gate.of_scores(first.scores[0])
        return self._features[question]

    def importance(self, question: str, method: str = "rel-att") -> Map:
        """Where the model looks for the answer.

        The pass that is made for it is the plain answer's too (and the other way
        round): asking the same question next costs its decoding alone.

        Args:
            question: the question (a short form of it, where the data has one).
            method: key of ``attribution.MAPS``; with ``-high`` after it, the image is
                looked at tile by tile (paper, section 5).

        Raises:
            ValueError: for an unknown method, or a map that is not finite.
        """
        check_question(question)
        kind, high = attribution.split(method)
        if (question, method) not in self._maps:
            if high:
                made = self._joined(question, kind)
            else:
                made = self.placed(self.whole.maps(question, kind)[0])
            self._maps[question, method] = made
        return self._maps[question, method]

    def placed(self, values: np.ndarray) -> Map:
        """(rows, cols) over what the model sees, laid where it is in the image."""
        if self.geometry == "upstream":
            return Map(values)
        return Map(*geometry.place(values, self.fit, self.image.size))

    # Tile by tile (paper, section 5): only maps are made of tiles, no answers.

    def _joined(self, question: str, kind: str) -> Map:
        """The tiles' maps, joined on one grid over the whole image."""
        found: dict[int, np.ndarray] = {}
        for numbers, look in self.looks(attribution.get(kind).tiles):
            found |= dict(zip(numbers, look.maps(question, kind), strict=True))
            look.forget_prompts()
        rows, cols = found[0].shape
        shape = (self.tiles.rows * rows, self.tiles.cols * cols)
        width, height = map(float, self.image.size)
        whole = (0.0, 0.0, width, height)
        parts = (
            geometry.lay(*self._tile_placed(found[number], number), whole, shape)
            for number in found
        )
        joined = np.asarray(sum(parts))
        return Map(joined, None if self.geometry == "upstream" else whole)

    def looks(self, most: int) -> list[tuple[list[int], Pictures]]:
        """Tiles of one size together, at most so many at once; with their numbers."""
        if most not in self._tiles:
            by_size: dict[tuple[int, int], list[int]] = {}
            for number, box in enumerate(self.tiles.boxes):
                by_size.setdefault((box.width, box.height), []).append(number)
            batches = [
                numbers[start : start + most]
                for numbers in by_size.values()
                for start in range(0, len(numbers), most)
            ]
            for batch in batches:
                parts = [self.part(self.tiles.boxes[number]) for number in batch]
                look = Pictures(self.vlm, parts, self.geometry, answered=False)
                self._tiles.setdefault(most, []).append((batch, look))
        return self._tiles[most]

    def _tile_placed(
        self, values: np.ndarray, number: int
    ) -> tuple[np.ndarray, Region]:
        """A tile's map and where in the original image it lies."""
        box = self.tiles.boxes[number]
        if self.geometry == "upstream":  # as if all tiles were of one size
            row, col = divmod(number, self.tiles.cols)
            width = self.image.width / self.tiles.cols
            height = self.image.height / self.tiles.rows
            edges = (col * width, row * height, (col + 1) * width, (row + 1) * height)
            return values, edges
        values, (x0, y0, x1, y1) = geometry.place(
            values, self.fit, (box.width, box.height)
        )
        left, top = box.left, box.top
        return values, (left + x0, top + y0, left + x1, top + y1)

    # What is kept.

    @property
    def held_bytes(self) -> int:
        """Memory that this view keeps on the model's device, bytes."""
        tiles = [look for batches in self._tiles.values() for _, look in batches]
        return sum(look.held_bytes for look in (self.whole, *tiles))

    def close(self) -> None:
        """Free all that is kept; what is asked next is looked at anew."""
        self.whole.close()
        self._said, self._maps, self._tiles, self._features = {}, {}, {}, {}

    def __enter__(self) -> View:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


Asked = tuple[View, str, Box | Shown | None]
"""A question about a view's image, or about it and what is shown beside it."""


def answer(asked: Sequence[Asked], max_new_tokens: int = 20) -> list[str]:
    """Greedy answers to several questions at once.

    Args:
        asked: a view, a question, and what is shown beside its image or None; any may
            come several times, and what was said already is not said again.
        max_new_tokens: at most so many each.

    Raises:
        ValueError: for views of several models, or what can be no question.
    """
    most = whole(max_new_tokens, "max_new_tokens", 1)
    cases = [(view, question, Shown.of(crop)) for view, question, crop in asked]
    keys = [
        (view, (check_question(question), shown, most))
        for view, question, shown in cases
    ]
    left = {
        key: case
        for key, case in zip(keys, cases, strict=True)
        if key[1] not in key[0]._said
    }
    if left:
        prompts = _prompts(list(left.values()))
        said = asked[0][0].vlm.answer(prompts, most)
        for (view, key), text in zip(left, said, strict=True):
            view._said[key] = text
    return [view._said[key] for view, key in keys]


@torch.no_grad()
def _prompts(asked: Sequence[tuple[View, str, Shown | None]]) -> list[Prompt]:
    """Prompts of several views, all images and crops looked at, each once."""
    see([view.whole for view, *_ in asked])
    vlm = asked[0][0].vlm
    parts = {
        (view, part): view.part(*part)
        for view, _, shown in asked
        if shown
        for part in shown.parts
    }
    seen = dict(zip(parts, vlm.look_apart([*parts.values()]), strict=True))
    cases = [
        _case(view, question, shown, [seen[view, part] for part in shown.parts])
        for view, question, shown in asked
        if shown
    ]
    made = iter(vlm.follow(cases))
    return [
        next(made) if shown else view.whole.ask(question)
        for view, question, shown in asked
    ]


def _case(view: View, question: str, shown: Shown, parts: Sequence[Seen]) -> Case:
    """What a prompt with pictures beside an image, or in its place, is made from."""
    whole, vlm = view.whole, view.vlm
    if shown.order == "after":
        return whole.case(question, parts)
    if shown.order == "same-tokens":
        count = sum(map(vlm.token_count, (whole.seen, *parts)))
        parts = [vlm.look_at(whole.pictures, tokens=count)]
    seen = [*parts, whole.seen] if shown.order == "first" else parts
    words = vlm.words(question, seen)
    return words, seen, vlm.begin(words, seen[0])


class Pictures:
    """Pictures of one size that a model looks at together, and what it keeps of them.

    Kept: their features, their prefix in the language model's cache, the last question
    as far as it was run, and the general prompt's map of each kind.

    Attributes:
        vlm: the model.
        pictures: as they are given to the processor.
        geometry: ``exact`` or ``upstream`` (see ``Adapter.look``).
        answered: whether questions will be answered, or only maps made: then nothing
            is run above the map's layer.
    """

    def __init__(
        self,
        vlm: Decoder,
        pictures: Sequence[Image.Image],
        geometry: str = "exact",
        answered: bool = True,
    ):
        self.vlm, self.pictures, self.geometry = vlm, list(pictures), geometry
        self.answered = answered
        self._seen: Seen | None = None
        self._asked: tuple[str, Prompt] | None = None
        self._general: dict[Callable, np.ndarray] = {}

    @property
    def seen(self) -> Seen:
        """The pictures through the vision tower."""
        if self._seen is None:
            self._seen = self.vlm.look_at(self.pictures)
        return self._seen

    def ask(self, question: str) -> Prompt:
        """A question about the pictures; the last one is kept as far as it was run."""
        if self._asked is None or self._asked[0] != question:
            self._asked = None  # freed before the next one is run
            self._asked = question, self.prompt(question, self.answered)
        return self._asked[1]

    @torch.no_grad()
    def prompt(self, question: str, answered: bool = True) -> Prompt:
        """A question about the pictures, not run yet."""
        (prompt,) = self.vlm.follow([self.case(question, answered=answered)])
        prompt.answered = answered
        return prompt

    def case(
        self, question: str, parts: Sequence[Seen] = (), answered: bool = True
    ) -> Case:
        """What a prompt about the pictures, or one and parts of it, is made from."""
        shown = [self.seen, *parts]
        words = self.vlm.words(question, shown)
        prefixes = self.seen.prefixes
        if words.key not in prefixes:
            # Where the question matters, keep two: its own and the general one.
            for oldest in list(prefixes)[:-1]:
                del prefixes[oldest]
            shared = words.key is None and self.answered
            depth = None if answered or shared else self.vlm.layer + 1
            prefixes[words.key] = self.vlm.begin(words, self.seen, depth)
        return words, shown, prefixes[words.key]

    def maps(self, question: str, method: str) -> np.ndarray:
        """(pictures, rows, cols) importance for a question."""
        kind = attribution.get(method)
        with self._graph(kind):
            asked = self.ask(question)  # which may be refused, before anything is run
            describe([self], kind)
            (about,) = kind.of_prompts(self.vlm, [asked])
        shown = self.pictures
        if self.geometry == "exact":
            shown = [self.vlm.shown(picture) for picture in shown]
        general = self._general.get(kind.of_prompts)
        return kind.combine(about, general, shown, self.seen.grid)

    @contextmanager
    def _graph(self, kind: Attribution) -> Iterator[None]:
        """Keep the way from the pixels for the body, if that kind of map needs it."""
        if kind.from_pixels and self._seen is None:
            self._seen = self.vlm.look_at(self.pictures, graph=True)
        elif kind.from_pixels:
            self.seen.graph = self.vlm.graph(self.seen)
        try:
            yield
        finally:
            # Gigabytes of a 7B model, while a map's arrays are kilobytes.
            self.seen.graph = None

    def forget_prompts(self) -> None:
        """Free keys and values; features and general maps stay."""
        self._asked = None
        if self._seen is not None:
            self._seen.prefixes.clear()

    def close(self) -> None:
        """Free all that is kept."""
        self.forget_prompts()
        self._seen, self._general = None, {}

    @property
    def held_bytes(self) -> int:
        """Memory that is kept on the model's device, bytes."""
        if self._seen is None:
            return 0
        caches = [prefix.cache for prefix in self._seen.prefixes.values()]
        if self._asked is not None and self._asked[1].first is not None:
            caches.append(self._asked[1].first.cache)
        held = sum(map(kept.size, caches))
        return held + self._seen.features.nbytes + self._seen.pixels.nbytes


def see(looks: Sequence[Pictures]) -> None:
    """Look at single pictures of one model, the vision tower run once for all.

    Raises:
        ValueError: for pictures of several models.
    """
    if any(look.vlm is not looks[0].vlm for look in looks):
        raise ValueError(
            "views of several models cannot be one batch; give each model its own call"
        )
    lacking = [look for look in dict.fromkeys(looks) if look._seen is None]
    if len(lacking) == 1:
        lacking[0].seen  # noqa: B018 (all of its tiles, looked at on first use)
    elif lacking:
        seen = looks[0].vlm.look_apart([look.pictures[0] for look in lacking])
        for look, own in zip(lacking, seen, strict=True):
            look._seen = own


def describe(looks: Sequence[Pictures], kind: Attribution) -> None:
    """What the general prompt says of pictures, once for all questions about them.

    Args:
        looks: at pictures; those whose is kept already are left as they are.
        kind: of map; of several gradients' graphs only one is kept at a time.
    """
    lacking = [
        one for one in dict.fromkeys(looks) if kind.of_prompts not in one._general
    ]
    if kind.needs_general and lacking:
        see(lacking)
        prompts = [look.prompt(GENERAL_QUESTION, answered=False) for look in lacking]
        made = kind.of_prompts(looks[0].vlm, prompts)
        for look, values in zip(lacking, made, strict=True):
            look._general[kind.of_prompts] = values


class Views:
    """The views used last, by the caller's own keys; older ones are closed.

    Attributes:
        max_views: how many are kept. Each holds some 0.6 GB of a 7B model in 16 bits.
    """

    def __init__(self, max_views: int = 1):
        self.max_views = whole(max_views, "max_views", 1)
        self._views: OrderedDict[Hashable, View] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], View]) -> View:
        """The view under a key, made if it is not kept."""
        if key not in self._views:
            while len(self._views) >= self.max_views:  # freed before one is made
                self._views.popitem(last=False)[1].close()
            self._views[key] = make()
        self._views.move_to_end(key)
        return self._views[key]

    def close(self) -> None:
        """Free all of them."""
        while self._views:
            self._views.popitem()[1].close()
