"""Original downloads, or drawn scenes, to the unified data format.

A module here is a data set, ``cli`` is ``vicrop prep``, and ``dataset`` says what they
have in common. ``download`` fetches original files, ``originals`` reads them, and
``unified`` writes what was read.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from data_prep.dataset import DataSet

MODULES = {
    "textvqa": "textvqa",
    "docvqa": "docvqa",
    "gqa": "gqa",
    "aokvqa": "aokvqa",
    "aokvqa-mc": "aokvqa",
    "pope": "pope",
    "vstar": "vstar",
    "vqav2": "vqav2",
    "hr-bench-4k": "hr_bench",
    "hr-bench-8k": "hr_bench",
    "zoombench": "zoombench",
    "treebench": "treebench",
    "infographicvqa": "infographicvqa",
}
"""Which module says what a key is: its ``DATASET``, or its ``DATASETS`` by key."""


def get(key: str) -> "DataSet":
    """A data set's facts.

    Raises:
        ValueError: for an unknown key.
    """
    if key not in MODULES:
        from vicrop.run.datasets import MAKERS

        raise ValueError(f"unknown data set {key!r}; known: {', '.join(MAKERS)}")
    module = import_module(f"data_prep.{MODULES[key]}")
    return module.DATASETS[key] if hasattr(module, "DATASETS") else module.DATASET
