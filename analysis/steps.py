"""Maps of one question taken apart: methods side by side, and their steps."""

import numpy as np

from vicrop import attribution
from vicrop.attribution import GENERAL_QUESTION
from vicrop.types import Map
from vicrop.view import View

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
