"""What is run, by size: reads and checks ``workflow/matrix.yaml``."""

import re
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)

import workflow
from vicrop import methods, paths
from vicrop.adapters import registry
from vicrop.run import datasets
from vicrop.run.records import RunConfig
from workflow.parameters import first_fault, refuse


def _model(name: str) -> str:
    registry.find(name)
    return registry.resolve(name)


def _dataset(name: str) -> str:
    if name not in datasets.MAKERS and not Path(name).is_dir():
        raise ValueError(
            f"unknown data set {name!r}; known: {', '.join(datasets.MAKERS)}, or the "
            "path of a folder with a data.json"
        )
    return name


def _page(name: str) -> str:
    known = sorted(file.stem for file in workflow.notebooks().glob("*.ipynb"))
    if name not in known:
        raise ValueError(f"unknown page {name!r}; known: {', '.join(known)}")
    return name


def _as_mapping(method: Any) -> Any:
    return {"method": method} if isinstance(method, str) else method


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _has_known_keys(cls, given: Any) -> Any:
        known = list(cls.model_fields)
        if not isinstance(given, dict):
            raise ValueError(f"must be a mapping of {', '.join(known)}")
        for key in given:
            if key not in known:
                raise ValueError(f"unknown key {key!r}; known: {', '.join(known)}")
        return given

    @field_validator("dtype", check_fields=False)
    @classmethod
    def _is_dtype(cls, name: str) -> str:
        if name not in registry.DTYPES:
            known = ", ".join(registry.DTYPES)
            raise ValueError(f"unknown dtype {name!r}; known: {known}")
        return name

    @field_validator("device", check_fields=False)
    @classmethod
    def _is_device(cls, name: str) -> str:
        if not re.fullmatch(r"cpu|cuda(:\d+)?|mps", name):
            raise ValueError(f"unknown device {name!r}; known: cpu, cuda, cuda:1, …")
        return name


NAMED = ("model", "method", "dataset", "shard", "shards")
_FIELDS: dict[str, Any] = {
    name: (field.annotation, field)
    for name, field in RunConfig.model_fields.items()
    if name not in NAMED
}
# In a matrix, a gate is named by the data that the same run is calibrated on.
_FIELDS["gate"] = (Annotated[str, AfterValidator(_dataset)] | None, None)
# Any: mypy takes no class for a base that is made at run time.
Settings: Any = create_model("Settings", __base__=_Strict, **_FIELDS)
"""All of a run but its model, method, data set and shards."""


class Method(Settings):
    """A method, and what else of the run is not the default."""

    method: Annotated[str, AfterValidator(methods.resolve)]


Model = Annotated[str, AfterValidator(_model)]
DataSet = Annotated[str, AfterValidator(_dataset)]
Count = Annotated[int, Field(ge=1)]
Page = Annotated[str, AfterValidator(_page)]
Methods = Annotated[
    list[Annotated[Method, BeforeValidator(_as_mapping)]], Field(min_length=1)
]


class Block(Settings):
    """Models × data sets × methods, and what all these runs share.

    Attributes:
        shards: parts of each run; of those of some data sets, if a mapping.
    """

    models: Annotated[list[Model], Field(min_length=1)]
    datasets: Annotated[dict[DataSet, Methods], Field(min_length=1)]
    shards: Count | dict[DataSet, Count] = 1

    def configs(self) -> list[RunConfig]:
        """Its runs, model by model."""
        own = {"models", "datasets", "shards"}
        shared = self.model_dump(exclude_unset=True, exclude=own)
        return [
            _gated(
                model=model,
                dataset=dataset,
                shards=self._shards(dataset),
                **{**shared, **method.model_dump(exclude_unset=True)},
            )
            for model in self.models
            for dataset, methods in self.datasets.items()
            for method in methods
        ]

    def _shards(self, dataset: str) -> int:
        shards = self.shards
        return shards if isinstance(shards, int) else shards.get(dataset, 1)


def _gated(gate: str | None = None, **told: Any) -> RunConfig:
    """A run; with a gate, the folder of the same run over the data that it names."""
    if gate is None:
        return RunConfig(**told)
    own = ("gate_feature", "gate_alpha")
    same = {name: value for name, value in told.items() if name not in own}
    calibration = RunConfig(**{**same, "dataset": gate, "shards": 1})
    return RunConfig(gate=str(paths.runs() / calibration.run_id), **told)


class Size(_Strict):
    """One size: blocks of runs, pages that read their records, sizes it includes."""

    runs: list[Block] = []
    pages: list[Page] = []
    includes: list[str] = []


SIZES = TypeAdapter(dict[str, Size])


class _Loader(yaml.SafeLoader):
    """YAML, but a key that stands twice is an error: the first would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = []
        for key, _ in node.value:
            if key.value in seen:
                line = key.start_mark.line + 1
                raise ValueError(f"line {line}: key {key.value!r} stands there twice")
            seen.append(key.value)
        return super().construct_mapping(node, deep)


def read(file: Path) -> dict[str, Size]:
    """All sizes of a matrix, checked.

    Raises:
        ValueError: naming file and place of the first thing that is wrong.
    """
    try:
        sizes = SIZES.validate_python(
            yaml.load(file.read_text(encoding="utf-8"), _Loader)
        )
        for name, size in sizes.items():
            _check_includes(name, size, sizes)
    except ValidationError as error:
        raise ValueError(f"{file} {first_fault(error)}") from None
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{file} {' '.join(str(error).split())}") from None
    return sizes


def _check_includes(name: str, size: Size, sizes: dict[str, Size]) -> None:
    for number, other in enumerate(size.includes):
        place = f"{name}.includes[{number}]"
        if other not in sizes:
            known = ", ".join(sizes)
            raise ValueError(f"{place}: unknown size {other!r}; known: {known}")
        if sizes[other].includes:
            raise ValueError(
                f"{place}: {other!r} includes others itself; name those instead"
            )


def chosen(file: Path, size: str) -> tuple[list[RunConfig], list[str]]:
    """The runs of a size, each once, and its pages; those of included sizes first.

    Raises:
        ValueError: for a size that the file does not have, a matrix that is wrong, or
            two runs that would share a folder.
    """
    sizes = read(file)
    refuse("size", [size], sizes, f" in {file}")
    parts = [*(sizes[name] for name in sizes[size].includes), sizes[size]]
    runs: dict[str, RunConfig] = {}
    for config in (c for part in parts for block in part.runs for c in block.configs()):
        if runs.setdefault(config.run_id, config) != config:
            raise ValueError(
                f"{file} {size}: two different runs are called {config.run_id}, so "
                f"they would share a folder: {_difference(runs[config.run_id], config)}"
            )
    pages = dict.fromkeys(page for part in parts for page in part.pages)
    return list(runs.values()), list(pages)


def _difference(one: RunConfig, other: RunConfig) -> str:
    pairs = zip(one, other, strict=True)
    return ", ".join(f"{n} {a!r} and {b!r}" for (n, a), (_, b) in pairs if a != b)
