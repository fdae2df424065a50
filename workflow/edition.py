"""Which edition of the book this is: of toy models or real ones, and of which day."""

from vicrop import paths
from vicrop.adapters import registry
from workflow import links, tables

REAL = 1e9
"""Parameters from which on a model is no toy."""


def band() -> str:
    """What stands above every page: which models its runs are of."""
    models = sorted({run.config().model for run in tables.find()})
    sizes = {name: registry.find(name).parameters for name in models}
    toys = [size / 1e6 for size in sizes.values() if 0 < size < REAL]
    real = [name for name, size in sizes.items() if not 0 < size < REAL]
    if real:
        beside = " · toy models beside them" if toys else ""
        return f"REAL · runs of {', '.join(real)}{beside}"
    if not toys:
        return "TOY · no runs yet"
    ends = "–".join(dict.fromkeys(f"{one:.1f}" for one in (min(toys), max(toys))))
    return f"TOY · no 7B run yet · models of {ends} million parameters, drawn scenes"


def built() -> str:
    """Commit that the tree is at, and its day; empty where there is no git."""
    if not (paths.ROOT / ".git").exists():  # git would take a folder above for ours
        return ""
    said = links.git("log", "-1", "--format=commit %h of %cs")
    changed = links.git("status", "--porcelain", "--untracked-files=no")
    return f"{said}, changed since" if said and changed else said
