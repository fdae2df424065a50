"""The data sets that ``vicrop prep`` makes, by key."""

from importlib import import_module

from data_prep.base import DataSet
from vicrop.run import datasets

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


def get(key: str) -> DataSet:
    """A data set's facts.

    Raises:
        ValueError: for an unknown key.
    """
    if key not in MODULES:
        known = ", ".join(datasets.MAKERS)
        raise ValueError(f"unknown data set {key!r}; known: {known}")
    module = import_module(f"data_prep.{MODULES[key]}")
    return module.DATASETS[key] if hasattr(module, "DATASETS") else module.DATASET
