"""pure-grad's map taken apart: what it is with fewer of its steps."""

from vicrop import attribution
from vicrop.attribution import GENERAL_QUESTION
from vicrop.types import Map
from vicrop.view import View


def filter_maps(view: View, question: str) -> dict[str, Map]:
    """The map of pure-grad, and what it is with fewer steps: all as means of cells."""
    about, general = (
        attribution.paper.pixel_gradient(view.vlm, [view.whole.ask(text)])[0][0]
        for text in (question, GENERAL_QUESTION)
    )
    mask = attribution.paper.detail_mask(view.whole.pictures[0], about.shape)
    ratio = attribution.paper.relative(about, general)
    kinds = {
        "gradient": about,
        "gradient × mask": about * mask,
        "ratio": ratio,
        "ratio × mask": ratio * mask,
    }
    grid = view.whole.seen.grid
    cells = {
        k: attribution.paper.cell_means(v[None], grid)[0] for k, v in kinds.items()
    }
    return {name: view.placed(one) for name, one in cells.items()}
