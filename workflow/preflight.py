"""What runs need and what is not here, told before the first of them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch

from vicrop import adapters, methods
from vicrop.run import datasets
from vicrop.run.records import RunConfig
from vicrop.run.shards import askable


@dataclass(frozen=True)
class Survey:
    """What runs would do, as far as it can be told.

    Attributes:
        questions: of each data set that is here, those of the run that asks most.
        answers: of all runs whose data are here.
        missing: what is not here, a line each, with the command that gets it.
        counts: answers of a run, by what it asks (see ``count``).
    """

    questions: dict[str, int]
    answers: int
    missing: list[str]
    counts: dict[tuple, int] = field(default_factory=dict)

    def count(self, config: RunConfig) -> int | None:
        """Answers that a run will have; None if its data are not here."""
        return self.counts.get(_asks(config))


def survey(configs: Iterable[RunConfig]) -> Survey:
    """Read the data that runs need, and look for their weights and devices."""
    configs = list(configs)
    questions: dict[str, int] = {}
    answers, missing, counts = 0, [], {}
    for asked, times in _alike(configs):
        try:
            count = len(askable(asked))
        except (OSError, ValueError) as error:
            missing.append(_data_fault(asked.dataset, error))
            continue
        questions[asked.dataset] = max(count, questions.get(asked.dataset, 0))
        answers += times * count
        counts[_asks(asked)] = count
    missing += [_weights_fault(name) for name in _models(configs)]
    missing += [_device_fault(name) for name in _devices(configs)]
    return Survey(questions, answers, list(dict.fromkeys(missing)), counts)


def _asks(config: RunConfig) -> tuple[str, int, int, bool]:
    """What decides which questions a run asks."""
    truth = config.method in methods.NEEDS_TRUTH
    return config.dataset, config.limit, config.seed, truth


def _alike(configs: list[RunConfig]) -> list[tuple[RunConfig, int]]:
    """Runs that ask the same questions: one that stands for them, and how many."""
    alike = Counter(map(_asks, configs))
    asking = {True: methods.NEEDS_TRUTH[0], False: "no-crop"}
    return [
        (RunConfig(dataset=name, limit=limit, seed=seed, method=asking[truth]), times)
        for (name, limit, seed, truth), times in alike.items()
    ]


def _data_fault(dataset: str, error: Exception) -> str:
    command = datasets.MAKERS.get(dataset, "")
    again = f"; to make it anew: `{command}`" if command not in str(error) else ""
    return f"data set {dataset}: {error}{again}"


def _models(configs: list[RunConfig]) -> list[str]:
    """Models without weights here."""
    names = dict.fromkeys(adapters.resolve(config.model) for config in configs)
    return [name for name in names if not adapters.MODELS[name].is_here()]


def _weights_fault(model: str) -> str:
    spec = adapters.MODELS[model]
    if spec.folder is not None:
        return f"model {model}: no weights in {spec.folder}; make them: `make train`"
    return (
        f"model {model}: no weights here; get them with `{spec.command()}` "
        f"({spec.size_gb:g} GB, {spec.licence})"
    )


def _devices(configs: list[RunConfig]) -> list[str]:
    """Devices that cannot be used here."""
    names = dict.fromkeys(config.device for config in configs)
    return [name for name in names if not _is_usable(name)]


def _is_usable(device: str) -> bool:
    place = torch.device(device)
    if place.type == "cuda":
        # Counted only: a tensor would take memory of the GPU that the workers need.
        return (place.index or 0) < torch.cuda.device_count()
    try:
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError):
        return False
    return True


def _device_fault(device: str) -> str:
    return (
        f"device {device}: torch does not see it; run this on a machine that has it "
        "(with a torch built for it), or name another `device` in the matrix"
    )
