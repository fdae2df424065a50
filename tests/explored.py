"""What two made-up models looked at: small enough to be checked by hand."""

import numpy as np
from PIL import Image

from analysis.explorer import store
from analysis.explorer.store import Asked, Cropped, Index, Said, Saved
from vicrop.types import Box

METHODS = ("rel-att", "grad-att", "pure-grad")
EVIL = '</script><script>document.title = "owned"</script><b>"bold" & \'brave\''
"""A text that must stay a text."""

MODELS = {
    "one": {"fit": "squash", "layers": 4, "heads": 3, "grid": (4, 6)},
    "other": {"fit": "centre-crop", "layers": 2, "heads": 2, "grid": (5, 5)},
}
TOKENS = {"one": ("what", "red", EVIL, "?"), "other": ("<s>", "what", "red")}
"""Behind the image; of any other model as many as a real prompt has."""


def tokens(model: str) -> tuple[str, ...]:
    """What a model's prompts say behind the image."""
    return TOKENS.get(model, ("word",) * 20)


def saved(seed: int = 0) -> Saved:
    """Two questions, the second of which nobody has drawn a box for."""
    rng = np.random.default_rng(seed)
    asked = (
        Asked(
            id="a",
            question="what digit is on the red plate?",
            labels=("4",),
            boxes=((50.0, 20.0, 62.0, 31.0),),
            size=(120, 80),
        ),
        Asked(id="b", question=f"what is {EVIL}?", size=(80, 80)),
    )
    said, arrays = [], {}
    for sample in range(len(asked)):
        for model in MODELS:
            said.append(_said(sample, model, seed))
            for name, values in _arrays(rng, model).items():
                arrays[store.key(sample, model, name)] = values
    pixels = rng.integers(0, 256, (2, 80, 120, 3), dtype=np.uint8)
    images = [
        store.jpeg(Image.fromarray(one).resize(question.size))
        for one, question in zip(pixels, asked, strict=True)
    ]
    index = Index(made={"seed": seed}, asked=asked, said=tuple(said))
    return Saved(index, arrays, images)


def said(saved: Saved, sample: int, model: str) -> Said:
    """What a model said to a question."""
    (one,) = (s for s in saved.index.said if (s.sample, s.model) == (sample, model))
    return one


def _said(sample: int, model: str, seed: int) -> Said:
    crops = {
        method: Cropped(box=Box(10 * n, 0, 10 * n + 30, 30), text=f"{model} {method}")
        for n, method in enumerate(METHODS)
    }
    return Said(
        sample=sample,
        model=model,
        layer=1,
        crop_px=24,
        fit=MODELS[model]["fit"],
        plain=EVIL if sample else "7",
        plain_score=None if sample else 0.0,
        crops=crops,
        tokens=tokens(model),
    )


def _arrays(rng: np.random.Generator, model: str) -> dict[str, np.ndarray]:
    spec = MODELS[model]
    shapes = {
        "question": (spec["layers"], spec["heads"], *spec["grid"]),
        "general": (spec["layers"], spec["heads"], *spec["grid"]),
        **dict.fromkeys(METHODS, spec["grid"]),
        "words": (spec["layers"], len(tokens(model)), *spec["grid"]),
    }
    return {
        name: (rng.random(shape) ** 4 + 0.001).astype(np.float32)
        for name, shape in shapes.items()
    }
