"""ViCrop end to end: image and question -> map, box, answers; and the controls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.random import Generator

from vicrop import boxes, geometry, images, methods
from vicrop.gate import Gate, of_map
from vicrop.prompts import not_none
from vicrop.types import Answer, Box, Map, Part, Shown, Size, check_question, whole
from vicrop.view import View, Views

if TYPE_CHECKING:
    from vicrop.adapters.adapter import Adapter

Truth = Sequence[Sequence[float]]
"""Ground-truth boxes, each (left, top, right, bottom)."""

Control = Callable[[View, Truth, Generator], Box | None]


def no_crop(view: View, truth: Truth, rng: Generator) -> None:
    """No second image: the plain answer."""
    return None


def human_crop(view: View, truth: Truth, rng: Generator) -> Box:
    """The square around the ground truth, no smaller than the model's input.

    Raises:
        ValueError: if the sample has no ground-truth box.

    Source: paper, section 3, where the square is the smallest (``human-crop-tight``).
    Here it is at least as large as the smallest window of the box search, so that it is
    what a perfect map could have chosen, and is never enlarged.
    """
    return boxes.around(_target(truth), view.image.size, view.vlm.crop_px)


def human_crop_tight(view: View, truth: Truth, rng: Generator) -> Box:
    """The smallest square around the ground truth (paper, section 3).

    Raises:
        ValueError: if the sample has no ground-truth box.
    """
    return boxes.around(_target(truth), view.image.size)


def _target(truth: Truth) -> Sequence[float]:
    """What holds all boxes: some questions are about two things."""
    if len(truth) == 0:
        raise ValueError(
            "a human crop needs a ground-truth box and this sample has none; use a "
            "data set with boxes, or another method"
        )
    try:
        lefts, tops, rights, bottoms = np.array(truth, float).T
    except ValueError:
        raise ValueError(
            f"truth must be a list of boxes (left, top, right, bottom), got {truth!r}"
        ) from None
    return lefts.min(), tops.min(), rights.max(), bottoms.max()


def random_crop(view: View, truth: Truth, rng: Generator) -> Box:
    """A box of a size that a map could choose, where its map would lie."""
    exact = view.geometry == "exact"
    region = geometry.visible(view.fit, view.image.size) if exact else None
    return boxes.random_box(rng, view.image.size, view.vlm.crop_px, region)


def center_crop(view: View, truth: Truth, rng: Generator) -> Box:
    """The middle of the image."""
    return boxes.center_box(view.image.size, view.vlm.crop_px)


def full_twice(view: View, truth: Truth, rng: Generator) -> Box:
    """The whole image again: a second image without a closer look."""
    return Box(0, 0, *view.image.size)


CONTROLS: dict[str, Control] = {
    "no-crop": no_crop,
    "human-crop": human_crop,
    "human-crop-tight": human_crop_tight,
    "random-crop": random_crop,
    "center-crop": center_crop,
    "full-twice": full_twice,
}
HIGH_RES_PX = 1024
"""With ``high_res="auto"``, images with a longer side are cut (paper, section 5)."""


class Policy(NamedTuple):
    """How a crop is shown.

    Attributes:
        boxes: (map, image size, crop_px, k) -> crops; None for the method's own.
        change: of each (see ``images.CHANGES``).
        order: see ``types.Shown``.
    """

    boxes: Callable[[Map, Size, int, int], list[Box]] | None = None
    change: str = "none"
    order: str = "after"


POLICIES = {
    "single": Policy(),
    "funnel": Policy(boxes.funnel),
    "top-k": Policy(boxes.top_k),
    "components": Policy(boxes.components),
    "union": Policy(boxes.union),
    "mask": Policy(change="masked"),
    "swapped": Policy(),  # of another question's crop, which the caller gives
    "blank": Policy(change="blank"),
    "shuffled": Policy(change="shuffled"),
    "alone": Policy(order="alone"),
    "first": Policy(order="first"),
    "same-tokens": Policy(order="same-tokens"),
}
"""The paper's single window, other policies, and controls that tell what it gives."""

Crop = tuple[Box | None, Map | None]
"""A crop, and the map that chose it; None without one, and for a control's."""


def crop_of(
    view: View, question: str, method: str, truth: Truth, rng: Generator
) -> Crop:
    """A method's crop, by a map for a question, ground-truth boxes or chance.

    Raises:
        ValueError: for a map that is not finite, or a box that is needed and missing.
    """
    if method in CONTROLS:
        return CONTROLS[method](view, truth, rng), None
    amap = view.importance(question, method)
    return boxes.select_box(amap, view.image.size, view.vlm.crop_px), amap


def shown_of(view: View, box: Box, amap: Map | None, policy: str, k: int) -> Shown:
    """What a policy shows of a crop, or k of the map that chose it."""
    how, found = POLICIES[policy], [box]
    if how.boxes is not None:
        found = how.boxes(not_none(amap), view.image.size, view.vlm.crop_px, k)
    return Shown(tuple(Part(one, how.change) for one in found), how.order)


class Chosen(NamedTuple):
    """What is shown beside an image, and why.

    Attributes:
        shown: None for the image alone.
        amap: that chose it; None for a control.
        features: how clear the map is (see ``gate.of_map``).
        gated: whether a gate kept the plain answer.
    """

    shown: Shown | None = None
    amap: Map | None = None
    features: Mapping[str, float] = {}
    gated: bool = False


def choose(
    view: View,
    question: str,
    find: Callable[[], Crop],
    policy: str = "single",
    k: int = 2,
    gate: Gate | None = None,
) -> Chosen:
    """What is shown for a question; nothing where the gate keeps the plain answer.

    Args:
        view: of the image.
        question: that is to be answered.
        find: gives its crop; not called where the gate can tell without it.
        policy: that ``methods.check_policy`` has let through, as the gate's feature.
        k: crops of the policies that show several.
        gate: None to crop always.

    Raises:
        ValueError: as ``find``; for more crops than the map has.
    """
    if gate and gate.of_answer and not gate.crops(view.features(question)):
        return Chosen(gated=True)
    box, amap = find()
    if box is None:
        return Chosen()
    features = {} if amap is None else of_map(amap, box, view.image.size)
    if gate and not gate.of_answer and not gate.crops(features):
        return Chosen(None, amap, features, gated=True)
    return Chosen(shown_of(view, box, amap, policy, k), amap, features)


def answer_chosen(
    view: View, question: str, chosen: Chosen, max_new_tokens: int = 20
) -> Answer:
    """Both answers, with what was chosen beside the image."""
    shown, amap, features, gated = chosen
    said = view.ask(question, shown, max_new_tokens)
    features = {**said.features, **features}
    return replace(said, amap=amap, features=features, gated=gated)


class ViCrop:
    """Visual cropping with one model.

    >>> crop = ViCrop(vicrop.load("tiny-llava"))
    >>> crop.answer("photo.jpg", "what digit is on the red plate?").text

    Attributes:
        vlm: the model.
        views: of the files asked about last; ``views.close()`` frees their memory.
    """

    def __init__(self, vlm: Adapter, max_views: int = 1):
        if not hasattr(vlm, "look"):
            raise ValueError(f"ViCrop takes what vicrop.load gives, got {vlm!r}")
        self.vlm, self.views = vlm, Views(max_views)

    def answer(
        self,
        image: images.ImageLike | View,
        question: str,
        method: str = "rel-att",
        short_question: str | None = None,
        truth: Truth = (),
        rng: Generator | None = None,
        max_new_tokens: int = 20,
        high_res: bool | str = False,
        fit: str | None = None,
        geometry: str = "exact",
        policy: str = "single",
        crops: int = 2,
        gate: Gate | None = None,
    ) -> Answer:
        """Answer from the image and from [image, crop].

        Args:
            image: an image, or a View of it that earlier questions made. A file's view
                is kept for the next question; another image's is not.
            question: the question.
            method: a map's or a control's key.
            short_question: asked for the map instead, where the data has one.
            truth: ground-truth boxes, for ``human-crop``.
            rng: for ``random-crop``; None for a generator of seed 0.
            max_new_tokens: at most so many.
            high_res: whether a map is made tile by tile, as with ``-high`` in the
                method's key; ``"auto"``: for images of more than 1024 pixels a side.
            fit: see ``Adapter.look``; of an image that is not a View yet.
            geometry: see ``Adapter.look``; the same.
            policy: how the crop is shown, a key of ``POLICIES``.
            crops: of the policies that show several.
            gate: that tells, by what is known by then, whether to crop at all.

        Returns:
            Both answers, the box and the map.

        Raises:
            ValueError: for an unknown method, ``high_res`` or policy, one that the
                method has nothing for, an empty question, an unusable image, another
                model's View, or a map that is not finite or has too few windows.
        """
        if high_res not in (True, False, "auto"):
            raise ValueError(
                f'high_res is {high_res!r}, expected True, False or "auto"'
            )
        method = methods.resolve(method)
        check_question(question)
        whole(max_new_tokens, "max_new_tokens", 1)
        view = image if isinstance(image, View) else self._look(image, fit, geometry)
        if view.vlm is not self.vlm:
            raise ValueError("the view is another model's; look with this one")
        rng = np.random.default_rng(0) if rng is None else rng
        if high_res == "auto":
            high_res = max(view.image.size) > HIGH_RES_PX
        if high_res and method in methods.TILED:
            method += methods.HIGH
        methods.check_policy(method, policy, gate.feature if gate else None)
        whole(crops, "crops", 1)
        if policy == "swapped":
            raise ValueError(
                "crop policy swapped shows another question's crop, which a run over a "
                "data set has; here give it to view.ask(question, crop=box)"
            )
        asked = short_question or question
        find = partial(crop_of, view, asked, method, truth, rng)
        chosen = choose(view, question, find, policy, crops, gate)
        return answer_chosen(view, question, chosen, max_new_tokens)

    def _look(self, image: images.ImageLike, fit: str | None, geometry: str) -> View:
        """An image's view; kept if it is a file that has not changed."""
        if not isinstance(image, (str, Path)) or not Path(image).is_file():
            return self.vlm.look(image, fit, geometry)
        key = (str(image), Path(image).stat().st_mtime_ns, fit, geometry)
        return self.views.get(key, lambda: self.vlm.look(image, fit, geometry))
