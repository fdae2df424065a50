"""Maps of one question taken apart: methods side by side, and their steps."""

from collections.abc import Mapping

import numpy as np
from PIL import Image

from vicrop import attribution, boxes
from vicrop.adapters.adapter import Adapter
from vicrop.attribution import GENERAL_QUESTION
from vicrop.methods import PAPER
from vicrop.types import Box, Map
from vicrop.view import View

Chosen = tuple[Map, Box | None]
"""A map and the crop that it chooses; no crop where none is made of it."""


def methods(
    vlms: Mapping[str, Adapter], image: Image.Image, question: str
) -> dict[str, dict[str, Chosen]]:
    """Each model's map by each of the paper's methods, with the crop it chooses."""
    return {
        name: _chosen(vlm.look(image), {m: (question, m) for m in PAPER})
        for name, vlm in vlms.items()
    }


def divisions(
    vlms: Mapping[str, Adapter], image: Image.Image, question: str
) -> dict[str, dict[str, Chosen]]:
    """Each model's attention: raw, under the general prompt, divided, with a floor."""
    asked = {
        "raw-att": (question, "raw-att"),
        "general prompt": (GENERAL_QUESTION, "raw-att"),
        "rel-att": (question, "rel-att"),
        "floor-att": (question, "floor-att"),
    }
    made = {name: _chosen(vlm.look(image), asked) for name, vlm in vlms.items()}
    for row in made.values():
        row["general prompt"] = row["general prompt"][0], None
    return made


def _chosen(view: View, asked: Mapping[str, tuple[str, str]]) -> dict[str, Chosen]:
    maps = {name: view.importance(*about) for name, about in asked.items()}
    size, crop_px = view.image.size, view.vlm.crop_px
    return {
        name: (amap, boxes.select_box(amap, size, crop_px))
        for name, amap in maps.items()
    }


# pure-grad, step by step.


def gradients(view: View, question: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What pure-grad is made of, each (height, width) of the model's input.

    Returns:
        The gradient's norm under the question, under the general prompt, and the mask
        of where there is detail.
    """
    about, general = (
        attribution.paper.pixel_gradient(view.vlm, [view.whole.ask(text)])[0][0]
        for text in (question, GENERAL_QUESTION)
    )
    mask = attribution.paper.detail_mask(view.whole.pictures[0], about.shape)
    return about, general, mask


def filter_steps(view: View, question: str) -> dict[str, Chosen]:
    """What pure-grad has in hand after each of its steps, the crop with the last."""
    about, general, mask = gradients(view, question)
    ratio = attribution.paper.relative(about, general)
    detail = attribution.paper.high_pass(view.whole.pictures[0], about.shape)
    pixels = {
        "1 |gradient|, question": about,
        "2 |gradient|, general": general,
        "3 ratio": ratio,
        "4 high-pass": detail,
        "5 mask": mask,
        "6 ratio × mask": ratio * mask,
    }
    steps = {name: (view.placed(values), None) for name, values in pixels.items()}
    last = view.placed(_cells(view, ratio * mask))
    box = boxes.select_box(last, view.image.size, view.vlm.crop_px)
    return steps | {"7 cell means": (last, box)}


def filter_maps(view: View, question: str) -> dict[str, Map]:
    """The map of pure-grad, and what it is with fewer steps: all as means of cells."""
    about, general, mask = gradients(view, question)
    ratio = attribution.paper.relative(about, general)
    kinds = {
        "gradient": about,
        "gradient × mask": about * mask,
        "ratio": ratio,
        "ratio × mask": ratio * mask,
    }
    return {name: view.placed(_cells(view, one)) for name, one in kinds.items()}


def _cells(view: View, values: np.ndarray) -> np.ndarray:
    return attribution.paper.cell_means(values[None], view.whole.seen.grid)[0]
