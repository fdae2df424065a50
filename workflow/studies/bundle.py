"""All records of a size in one zip, with a data dictionary: the same bytes every time.

``python -m workflow.studies.bundle`` writes it where the page on reproducing leads.
"""

import inspect
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer

import workflow
from vicrop import paths
from vicrop.run.folder import RunFolder
from vicrop.run.records import Record, RunConfig
from workflow import matrix, plans, studies

META = {
    "config": "the run's parameters, as below",
    "identity": "what its records depend on; SHA-256 of data and weights",
    "asked, answered, errors": "samples: asked, asked by this call, failed",
    "seconds": "the model's work; what runs share is counted for the first of them",
    "peak_memory_mb": "of the process when the run ended, MB (10^6 bytes)",
    "passes, tokens, image_tokens": "counts: passes, and tokens they were over",
    "records": "lines of `records.jsonl`, and their SHA-256",
    "versions, python, machine": "what it was made with",
}
"""What ``meta.json`` says, its host aside, which is nobody's business."""

INTRO = """# Records of the ViCrop reproducibility book, size `{size}`

Toy models on drawn scenes: they say that the procedure works, nothing of 7B models.
`runs/RUN/records.jsonl`: a line a question; `runs/RUN/meta.json`: what made them.
`probes/MODEL__DATA__HASHES/*.csv`: what pages measure beside the runs; what each
table and column is, `analysis/probes.py` in the repository says.
`studies.json`: the long studies, whose archives lie in the repository, `book/studies`.
`SHA256SUMS`: of every other file; check with `sha256sum -c SHA256SUMS`.
Boxes are [left, top, right, bottom], pixels of the upright image, right and bottom
exclusive; scores, sizes and coverages are shares from 0 to 1. `crc` seals its line.
"""


def dictionary(size: str) -> str:
    """What every field is, with its unit, as Markdown."""
    parts = {
        "records.jsonl": recorded(),
        "meta.json": META,
        "meta.json, config": {
            name: str(field.description)
            for name, field in RunConfig.model_fields.items()
        },
    }
    lists = {
        name: "\n".join(f"* `{key}`: {said}" for key, said in rows.items())
        for name, rows in parts.items()
    }
    sections = [f"## {name}\n\n{rows}" for name, rows in lists.items()]
    return "\n\n".join([INTRO.format(size=size).rstrip(), *sections]) + "\n"


def recorded() -> Mapping[str, str]:
    """A record's fields, as its docstring says them."""
    text = inspect.cleandoc(str(Record.__doc__)).partition("Attributes:\n")[2]
    rows = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text, re.M)
    return {name: " ".join(said.split()) for name, said in rows}


def files(size: str, matrix_file: Path) -> Iterator[tuple[str, bytes]]:
    """What is packed, by its name there: the finished runs of a size, and the rest."""
    configs, _ = matrix.chosen(matrix_file, size)
    for run in map(RunFolder.of, configs):
        if run.meta().get("finished"):
            meta = {key: said for key, said in run.meta().items() if key != "host"}
            yield f"runs/{run.name}/meta.json", json.dumps(meta, indent=1).encode()
            yield f"runs/{run.name}/records.jsonl", run.records_file.read_bytes()
    folder, models = paths.results() / "probes", {one.model for one in configs}
    for file in folder.glob("*/*.*"):
        of_size = file.parent.name.partition("__")[0] in models
        if of_size and file.suffix != ".part":
            yield f"probes/{file.relative_to(folder).as_posix()}", file.read_bytes()
    yield "studies.json", json.dumps(studies.listed(), indent=1).encode()
    yield "README.md", dictionary(size).encode()


def write(size: str, file: Path, matrix_file: Path = plans.MATRIX) -> Path:
    """Pack a size."""
    packed = dict(sorted(files(size, matrix_file)))
    sums = [f"{sha256(data).hexdigest()}  {name}" for name, data in packed.items()]
    packed["SHA256SUMS"] = ("\n".join(sums) + "\n").encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in packed.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED, 9)
    return file


def main(
    size: Annotated[str, typer.Option(help="Of the matrix.")] = "embedded",
    file: Annotated[Path, typer.Option(help="The matrix.")] = plans.MATRIX,
) -> None:
    """Pack all records of a size for the book."""
    made = write(size, workflow.executed() / "records.zip", file)
    typer.echo(f"{made}: {made.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    typer.run(main)
