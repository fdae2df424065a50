"""What is said of a trained model: ``training.json`` beside its weights."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import looking
from embedded import instructblip, llava, qwen, training_data
from embedded.fit import Schedule
from embedded.training_data import FIRST, SMALLER, Phase
from embedded.words import IMAGE_PX
from vicrop import adapters, paths, scoring
from vicrop.adapters.adapter import Adapter
from vicrop.run import datasets, results, stats
from vicrop.run.provenance import file_hash, weights_hash

CARD = "training.json"
VALIDATION = "plates-val"


@dataclass(frozen=True)
class Subject:
    """What a card tells of, beside what is measured.

    Attributes:
        family: of the model.
        stages: their schedules, in order.
        phases: what was shown when, by stage.
        start: the embedded model that it started from, None for nothing.
        sources: training scenes.
        look_late: share of its batches with the look-late mask.
        products: type in which its language model was multiplied.
        options: of the family, where not its defaults.
    """

    family: str
    stages: Mapping[str, Schedule]
    phases: Mapping[str, Sequence[Phase]]
    start: str | None = None
    sources: Sequence[training_data.Source] = (FIRST, SMALLER)
    look_late: float = llava.LOOK_LATE
    products: str = "float32"
    options: Mapping[str, Any] = field(default_factory=dict)


UNMASKED = {
    "tiny-llava-unmasked": 2025,
    "tiny-llava-unmasked-2": 2026,
    "tiny-llava-unmasked-3": 2027,
}
"""Seeds of what is trained without the look-late mask, by model."""

SUBJECTS = {
    "tiny-llava": Subject("llava", llava.STAGES, llava.PHASES),
    **{
        key: Subject(
            "llava",
            {name: llava.STAGES[name] for name in ("align", *llava.PHASES)},
            llava.PHASES,
            start="tiny-llava",
            look_late=0.0,
            products="bfloat16",
        )
        for key in UNMASKED
    },
    "tiny-instructblip": Subject(
        "instructblip",
        instructblip.STAGES,
        instructblip.PHASES,
        start="tiny-llava",
        look_late=0.0,
    ),
    "tiny-qwen2.5-vl": Subject(
        "qwen2.5-vl",
        qwen.STAGES,
        qwen.PHASES,
        start="tiny-llava",
        sources=(SMALLER,),
        options={"crop_px": IMAGE_PX},  # as small as what all embedded models see
    ),
}


def write(weights: Path, curves: Path, subject: Subject, facts: dict[str, Any]) -> None:
    """Measure a trained model on validation scenes and write its card.

    Args:
        weights: folder of the trained model.
        curves: folder with the stages' curves.
        subject: what is told of it.
        facts: of the training run (seed, processes).
    """
    family, options = subject.family, subject.options
    vlm = adapters.load(str(weights), family=family, layer=0, **options)
    samples = datasets.load(VALIDATION)
    looked = looking.by_layer(vlm, VALIDATION, samples, progress=True)
    small = looked[looked["size"].map(results.size_group) == "small"]
    asked = [sample for sample in samples if sample.id in {*small["id"]}]
    stages = subject.stages
    history = {
        name: json.loads((curves / f"{name}.json").read_text()) for name in stages
    }
    card = {
        **facts,
        "start": subject.start,
        "parameters": sum(p.numel() for p in vlm.model.parameters()),
        "weights_sha256": weights_hash(vlm),
        "file_sha256": file_hash(weights / "model.safetensors"),
        "scenes": sum(source.count for source in subject.sources),
        "phases": {
            name: [asdict(phase) for phase in phases]
            for name, phases in subject.phases.items()
        },
        "look_late": subject.look_late,
        "products": subject.products,
        "crop_side": training_data.CROP_SIDE,
        "schedules": {name: asdict(schedule) for name, schedule in stages.items()},
        "seconds": {name: rows[-1]["seconds"] for name, rows in history.items()},
        "layer": looking.best_layer(small),
        "heads": looking.best_heads(vlm, VALIDATION, asked),
        "covered_by_layer": looking.covered_share(small).round(4).to_dict(),
        "covered_n": int(small["id"].nunique()),
        "validation": accuracy_by_group(vlm),
        "curves": history,
    }
    (weights / CARD).write_text(json.dumps(card, indent=1))


def accuracy_by_group(vlm: Adapter) -> dict[str, dict[str, float]]:
    """Plain accuracy on validation scenes with its interval, by size group."""
    scores: dict[str, list[tuple[float, str]]] = {}
    samples = datasets.load(VALIDATION)
    for sample, view in looking.views(vlm, VALIDATION, samples):
        size = datasets.object_size(sample, view.image.size)
        said = view.ask(sample.question).text
        right = scoring.score(VALIDATION, said, sample.labels)
        found = scores.setdefault(results.size_group(size) or "no object", [])
        found.append((right, sample.image_path))
    return {
        name: asdict(stats.accuracy(*zip(*found, strict=True)))
        for name, found in scores.items()
    }


def read(model: str) -> dict[str, Any]:
    """The card of an embedded model."""
    return json.loads((paths.WEIGHTS / model / CARD).read_text())


def schedule(card: dict[str, Any]) -> pd.DataFrame:
    """Steps, batch, learning rate and minutes of each stage."""
    rows = []
    for name, stage in card["schedules"].items():
        batch = f"{card['processes']} × {stage['batch']}"
        minutes = f"{card['seconds'][name] / 60:.1f}"
        rows.append((name, stage["steps"], batch, f"{stage['rate']:g}", minutes))
    return pd.DataFrame(rows, columns=["stage", "steps", "batch", "rate", "minutes"])


def metrics(card: dict[str, Any], stage: str) -> list[str]:
    """Names of a stage's accuracies, in the order in which they first appear."""
    names: dict[str, None] = {}
    for row in card["curves"][stage]:
        names |= dict.fromkeys(row)
    return [name for name in names if name not in ("step", "seconds", "loss")]


def validation(card: dict[str, Any]) -> pd.DataFrame:
    """Plain accuracy on validation scenes by size group."""
    rows = [
        (group, made["n"], stats.Estimate(**made).format(1, scale=100))
        for group, made in card["validation"].items()
    ]
    return pd.DataFrame(rows, columns=["object", "n", "right, % [95 %]"])


def layers(card: dict[str, Any]) -> pd.DataFrame:
    """Share of small validation objects that each layer's crop covers."""
    shares = card["covered_by_layer"].items()
    rows = [(layer, f"{100 * share:.1f}") for layer, share in shares]
    return pd.DataFrame(rows, columns=["layer", "small objects in the crop, %"])


def side_by_side(
    made: Mapping[str, dict[str, Any]], table: Callable[[dict[str, Any]], pd.DataFrame]
) -> pd.DataFrame:
    """The same table of several cards, one below the other, with the model's key."""
    parts = [table(card).assign(model=name) for name, card in made.items()]
    joined = pd.concat(parts, ignore_index=True)
    return joined[["model", *joined.columns.drop("model")]]
