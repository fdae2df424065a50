"""Records of finished runs, read as tables."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from PIL import Image

from vicrop import boxes, geometry, paths
from vicrop.images import load as load_image
from vicrop.run import datasets
from vicrop.run.folder import META, RunFolder
from vicrop.run.records import Record, RunConfig

SIZE_GROUPS = {"small": (0.0, 0.005), "medium": (0.005, 0.05), "large": (0.05, 1.01)}
"""The paper's groups of object size S (section 3), from (inclusive) to."""


def find(*models: str) -> list[RunFolder]:
    """All finished runs, by name; only those of ``models`` if any are given."""
    folders = sorted(file.parent for file in paths.runs().glob(f"*/{META}"))
    runs = [RunFolder(folder) for folder in folders]
    finished = [run for run in runs if run.meta().get("finished")]
    if not models:
        return finished
    return [run for run in finished if run.meta()["config"]["model"] in models]


def table(run: RunFolder) -> pd.DataFrame:
    """A run's records, one row a sample, indexed by id, with its ``group`` of size.

    Failed samples keep their row, without scores, in the group of their object's size.
    """
    rows = [record.model_dump() for record in run.records()]
    frame = pd.DataFrame(rows, columns=list(Record.model_fields)).set_index("id")
    frame["group"] = frame["size"].map(size_group)
    return frame.astype({"score": float, "plain_score": float, "coverage": float})


def label(config: RunConfig) -> str:
    """What a run is called beside others: its method, and how it differs from plain."""
    own = "" if config.geometry == "exact" else config.geometry
    options = [f"{key} {value}" for key, value in sorted(config.options.items())]
    taken = "boxes taken" if config.boxes_from else ""
    return ", ".join(filter(None, [config.method, config.fit, own, taken, *options]))


def load(model: str, method: str, dataset: str, **changes: Any) -> pd.DataFrame:
    """The table of a finished run over the whole data set.

    Args:
        model: key.
        method: key.
        dataset: key.
        **changes: what else of its ``RunConfig`` is not the default, such as ``fit``.

    Raises:
        FileNotFoundError: if there is none, naming the command that makes it.
    """
    config = RunConfig(model=model, method=method, dataset=dataset, **changes)
    run = RunFolder.of(config)
    if not run.meta().get("finished"):
        asked = {"model": model, "method": method, "dataset": dataset, **changes}
        words = " ".join(f"--{key} {value}" for key, value in asked.items())
        raise FileNotFoundError(
            f"no finished run in {run.folder}; make it with `vicrop run {words}`"
        )
    return table(run)


def tables(model: str, dataset: str | None = None) -> dict[str, pd.DataFrame]:
    """Tables of a model's finished runs over whole data sets.

    Args:
        model: key.
        dataset: key; None for all of them.

    Returns:
        By ``label`` if a data set is given, else by ``dataset · label``; in the order
        in which methods are listed in the book: controls after maps.
    """
    found = {}
    for run in sorted(find(model), key=_rank):
        config = RunConfig(**run.meta()["config"])
        whole = run.folder.name == config.run_id and not config.limit
        if whole and config.layer is None and dataset in (None, config.dataset):
            name = label(config) if dataset else f"{config.dataset} · {label(config)}"
            found[name] = table(run)
    return found


def by_model(
    models: Sequence[str], dataset: str, group: str
) -> dict[str, dict[str, pd.DataFrame]]:
    """Tables of several models' runs on one data set, rows of one size group only.

    Returns:
        By model, then by ``label``; models without such runs are left out.
    """
    found = {name: of_group(tables(name, dataset), group) for name in models}
    return {name: runs for name, runs in found.items() if runs}


ORDER = (
    "no-crop rel-att grad-att pure-grad rel-att-high grad-att-high pure-grad-high"
    " raw-att floor-att raw-att-high floor-att-high human-crop human-crop-tight"
    " random-crop center-crop full-twice"
).split()
"""How methods follow each other in tables."""


def _rank(run: RunFolder) -> tuple:
    config = RunConfig(**run.meta()["config"])
    known = config.method in ORDER
    place = ORDER.index(config.method) if known else len(ORDER)
    return config.dataset, place, label(config)


def by_group(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """A table split by size group, small first; rows without an object left out."""
    groups = {name: frame[frame["group"] == name] for name in SIZE_GROUPS}
    return {name: rows for name, rows in groups.items() if len(rows)}


def of_group(runs: dict[str, pd.DataFrame], group: str) -> dict[str, pd.DataFrame]:
    """The rows of one size group, and runs without any left out."""
    chosen = {name: rows[rows["group"] == group] for name, rows in runs.items()}
    return {name: rows for name, rows in chosen.items() if len(rows)}


def only(runs: dict[str, pd.DataFrame], ids: Iterable[str]) -> dict[str, pd.DataFrame]:
    """The rows of some samples."""
    wanted = set(ids)
    return {name: rows[rows.index.isin(wanted)] for name, rows in runs.items()}


def in_view(name: str, fit: str) -> pd.Series:
    """Share of each object of a data set that a fit leaves to the model, by sample id.

    Args:
        name: key or folder of the data set; samples without an object are left out.
        fit: see ``geometry.region``.
    """
    shares = {}
    for sample in datasets.load(name):
        if sample.boxes:
            size = datasets.image_size(datasets.image_path(name, sample))
            seen = geometry.visible(fit, size)
            shares[sample.id] = boxes.coverage(seen, sample.boxes[0])
    return pd.Series(shares, dtype=float)


def counts(names: Sequence[str]) -> pd.DataFrame:
    """Questions and images of data sets, by size group and kind."""
    rows = []
    for name in names:
        samples = datasets.load(name)
        kinds = Counter(sample.meta["kind"] for sample in samples)
        groups = Counter(size_group(size) or "no object" for size in _sizes(name))
        images = len({sample.image_path for sample in samples})
        made = {"data set": name, "images": images, "questions": len(samples)}
        rows.append(made | dict(sorted(groups.items())) | dict(sorted(kinds.items())))
    return pd.DataFrame(rows)


def sizes(name: str) -> list[float]:
    """Object sizes S of a data set's questions that have a box."""
    return [size for size in _sizes(name) if size is not None]


def _sizes(name: str) -> list[float | None]:
    return [
        datasets.object_size(s, datasets.image_size(datasets.image_path(name, s)))
        for s in datasets.load(name)
    ]


def pictures(names: Sequence[str], each: int) -> list[tuple[str, Image.Image]]:
    """The first images of data sets, each with its name and size."""
    shown = []
    for name in names:
        files = dict.fromkeys(datasets.image_path(name, s) for s in datasets.load(name))
        for file in list(files)[:each]:
            image = load_image(file)
            shown.append((f"{name}, {image.width}×{image.height} px", image))
    return shown


def size_bins(frame: pd.DataFrame, count: int) -> dict[str, pd.DataFrame]:
    """Equally filled bins of the object's side over the image's, in percent."""
    side = 100 * frame["size"] ** 0.5
    bins = pd.qcut(side, count)
    return {
        f"{interval.left:.1f}–{interval.right:.1f} %": frame[bins == interval]
        for interval in bins.cat.categories
    }


def by_kind(frame: pd.DataFrame, dataset: str) -> dict[str, pd.DataFrame]:
    """A table split by the kind of question that the data set gives."""
    kinds = {s.id: s.meta.get("kind", "") for s in datasets.load(dataset)}
    return {str(kind): rows for kind, rows in frame.groupby(frame.index.map(kinds))}


def size_group(size: float | None) -> str | None:
    """``small``, ``medium`` or ``large``; None without a ground-truth box."""
    if size is None or size != size:
        return None
    return next(name for name, (low, high) in SIZE_GROUPS.items() if low <= size < high)


def examples(frame: pd.DataFrame, each: int = 2) -> list[str]:
    """Ids to show of a run: the first ones fixed, broken, still wrong, still right.

    Args:
        frame: a run's table.
        each: at most so many of each sort.
    """
    was, now = frame["plain_score"] >= 0.5, frame["score"] >= 0.5
    tried = frame["error"].isna()
    sorts = (~was & now, was & ~now, ~was & ~now, was & now)
    return [name for sort in sorts for name in frame.index[sort & tried][:each]]
