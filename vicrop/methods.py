"""Keys of all methods, readable without torch: maps, their variants, controls."""

from vicrop.types import known

PAPER = ("rel-att", "grad-att", "pure-grad")
"""The paper's maps (sections 4 and 5)."""

WHOLE = ("occlusion", "center-prior")
"""Maps of the whole image alone, not made tile by tile."""

PEERS = (
    *("word-att", "max-layers", "mean-layers", "local-heads", "gaze-heads"),
    *("prefix-att", "entropy-grad", "grad-cam", "sink-free", "kv-similarity"),
    *WHOLE,
)
"""Maps that others have, or that people try first."""

MAPS = (*PAPER, *PEERS, "raw-att", "floor-att")
"""All maps; ``attribution.MAPS`` says how each is made."""

TILED = tuple(name for name in MAPS if name not in WHOLE)
"""Those that have a high-resolution variant."""

HIGH = "-high"
"""Ends the keys of the high-resolution variants."""

NEEDS_TRUTH = ("human-crop", "human-crop-tight")
"""Controls that are told where the object is."""

CONTROLS = ("no-crop", *NEEDS_TRUTH, "random-crop", "center-crop", "full-twice")
"""Second images that no map chooses; ``pipeline.CONTROLS`` says how each is made."""

METHODS = (*MAPS, *(name + HIGH for name in TILED), *CONTROLS)
"""All of them."""

ALIASES = {key.replace("-", "_"): key for key in (*PAPER, *(k + HIGH for k in PAPER))}
"""The authors' short keys."""

MAPS_POLICIES = ("funnel", "top-k", "components", "union")
"""Crop policies that take other boxes of a map than its sharpest."""

POLICIES = (
    *("single", *MAPS_POLICIES, "mask", "swapped", "blank", "shuffled"),
    *("alone", "first", "same-tokens"),
)
"""How a crop is shown; ``pipeline.POLICIES`` says what each does."""

OF_ANSWER = ("probability", "margin", "certainty")
OF_MAP = ("map-entropy", "map-spread")
FEATURES = (*OF_ANSWER, *OF_MAP)
"""What a gate may go by; ``gate`` says how each is computed."""


def check_policy(method: str, policy: str, feature: str | None = None) -> None:
    """Refuse a crop policy, or a gate's feature, that a method has nothing for.

    Args:
        method: key, or what else chooses crops without a map.
        policy: key; a ValueError with those that are known, if it is none.
        feature: key; None without a gate.
    """
    shown = f"crop policy {known(policy, POLICIES, 'crop policy')}"
    if method == "no-crop" and (policy != "single" or feature):
        what = "a gate" if policy == "single" else shown
        raise ValueError(f"{what} needs a crop, and no-crop shows none")
    of_map = shown if policy in MAPS_POLICIES else ""
    of_map = f"a gate by {feature}" if feature in OF_MAP else of_map
    if of_map and method.removesuffix(HIGH) not in MAPS:
        raise ValueError(f"{of_map} needs a map, as of rel-att; {method} makes none")


def resolve(method: str) -> str:
    """A method's key, the authors' short keys translated.

    Raises:
        ValueError: for an unknown method.
    """
    alias = ALIASES.get(method) if isinstance(method, str) else None
    return alias or known(method, METHODS, "method")
