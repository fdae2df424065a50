"""papermill: run configurations and pages -> executed notebooks for the book.

``python -m vicrop.execute`` executes the embedded size of ``workflow/matrix.yaml``;
``--size`` another, ``--dry-run`` tells what a size needs.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NoReturn

import nbformat
import papermill
import typer
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from papermill.inspection import inspect_notebook
from tqdm import tqdm

from vicrop import matrix as sizes
from vicrop import paths, preflight, results, warm
from vicrop.run import run_together
from vicrop.types import RunConfig

TEMPLATE = "run"
MATRIX = paths.ROOT / "workflow" / "matrix.yaml"


@dataclass(frozen=True)
class Job:
    """One notebook to execute.

    Attributes:
        source: name of the notebook in ``notebooks/``, without ending.
        target: name of the executed copy in ``book/executed/``, without ending.
        parameters: injected after its parameters cell.
        title: written over ``{run_title}`` in its first cell.
        config: of the run that it shows; None for a page.
    """

    source: str
    target: str
    parameters: dict[str, Any]
    title: str = ""
    config: RunConfig | None = None

    @property
    def output(self) -> Path:
        """The executed copy."""
        return paths.executed() / f"{self.target}.ipynb"


def run_job(config: RunConfig) -> Job:
    """The template with a run's parameters."""
    given = config.model_dump(exclude_defaults=True)
    named = {"model": config.model, "method": config.method, "dataset": config.dataset}
    title = f"{config.model} · {results.label(config)} · {config.dataset}"
    parameters = {**given, **named, "limit": config.limit, "progress": False}
    return Job(TEMPLATE, f"runs/{config.run_id}", parameters, title, config)


def read_matrix(file: Path, size: str) -> tuple[list[Job], list[Job]]:
    """The run notebooks of a size, and the pages that read their records.

    Raises:
        ValueError: for a size that the file does not have, or a matrix that is wrong.
    """
    configs, pages = sizes.chosen(file, size)
    return [run_job(config) for config in configs], [Job(p, p, {}) for p in pages]


def fingerprint(job: Job, depends: Iterable[Path]) -> str:
    """Changes with the source, the parameters and every file that it depends on."""
    digest = hashlib.sha256(json.dumps(job.parameters, sort_keys=True).encode())
    own = [paths.notebooks() / f"{job.source}.ipynb", *data_files(job)]
    for file in [*own, *sorted(depends)]:
        digest.update(file.name.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def data_files(job: Job) -> list[Path]:
    """What says which data a notebook sees: a run its own, a page all that are here."""
    name = job.config.dataset if job.config else "*"
    return sorted(paths.data().glob(f"{Path(name).name}/prep.json"))


def package_files() -> list[Path]:
    """The package's sources and weights."""
    package = Path(__file__).parent
    return [*package.rglob("*.py"), *package.rglob("*.safetensors")]


def record_files() -> list[Path]:
    """Records of all runs, and what else only pages read."""
    also = ("data_prep/*.py", "tests/golden/*.json", "benchmarks/*.json")
    others = [file for pattern in also for file in paths.ROOT.glob(pattern)]
    return [*paths.runs().glob("*/records.jsonl"), *others]


def is_current(job: Job, mark: str) -> bool:
    """Whether the executed copy is of this fingerprint."""
    if not job.output.exists():
        return False
    book = nbformat.read(job.output, as_version=4)
    return book.metadata.get("vicrop", {}).get("fingerprint") == mark


def execute(job: Job, mark: str = "") -> Path:
    """Execute one notebook; its page appears only if every cell ran.

    Returns:
        The executed copy, stripped of what changes from run to run.

    Raises:
        ValueError: for a parameter that the notebook does not have.
        PapermillExecutionError: if a cell failed; the half-executed notebook stays in
            ``book/executed/unfinished/``.
    """
    source = paths.notebooks() / f"{job.source}.ipynb"
    unknown = set(job.parameters) - set(inspect_notebook(str(source)))
    if unknown:
        raise ValueError(f"{source.name} has no parameter {', '.join(sorted(unknown))}")
    book = nbformat.read(source, as_version=4)
    first = book.cells[0]
    first.source = first.source.replace("{run_title}", job.title)
    half = paths.executed() / "unfinished" / f"{job.target}.ipynb"
    half.parent.mkdir(parents=True, exist_ok=True)
    papermill.execute_notebook(
        book,
        str(half),
        parameters=job.parameters,
        kernel_name="python3",
        engine_name=warm.NAME,
        progress_bar=False,
        cwd=str(paths.notebooks()),
    )
    strip(half, job.parameters, mark)
    job.output.parent.mkdir(parents=True, exist_ok=True)
    half.replace(job.output)
    return job.output


def strip(file: Path, parameters: dict[str, Any], mark: str) -> None:
    """Drop what changes from one execution to the next, in place.

    Times, random ids, and counts of cells that begin where another notebook ended.
    """
    book = nbformat.read(file, as_version=4)
    book.metadata = nbformat.from_dict(
        {
            "kernelspec": book.metadata["kernelspec"],
            "language_info": {"name": "python"},
            "papermill": {"parameters": parameters},
            "vicrop": {"fingerprint": mark},
        }
    )
    for number, cell in enumerate(book.cells):
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        cell["id"] = f"c{number:02d}"
        if cell.cell_type == "code":
            _renumber(cell, number)
    nbformat.write(book, file)


def _renumber(cell: nbformat.NotebookNode, number: int) -> None:
    cell.execution_count = number
    for output in cell.outputs:
        if output.output_type == "execute_result":
            output.execution_count = number


def execute_all(jobs: list[Job], depends: list[Path], workers: int) -> list[str]:
    """Execute what is not current, side by side; what failed, a line each."""
    marked = [(job, fingerprint(job, depends)) for job in jobs]
    todo = [(job, mark) for job, mark in marked if not is_current(job, mark)]
    failed = []
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # tqdm, of ipywidgets
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(execute, *one): one[0] for one in todo}
        bar = tqdm(as_completed(futures), desc="notebooks", total=len(futures))
        for future in bar:
            job = futures[future]
            bar.set_postfix_str(job.target)
            try:
                future.result()
            except (PapermillExecutionError, DeadKernelError) as error:
                kept = f"book/executed/unfinished/{job.target}.ipynb"
                reason = str(error).strip().splitlines()[-1]
                failed.append(f"{job.target}: {reason} ({kept})")
    return failed


def answer_together(configs: list[RunConfig], workers: int) -> list[str]:
    """Make the records of runs, those of the same images together; what failed.

    The run notebooks then find their records made: every image is looked at once for
    all methods instead of once for each.
    """
    failed = []
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = {
            pool.submit(_answer, group): name for name, group in groups(configs).items()
        }
        for future in tqdm(as_completed(futures), desc="answers", total=len(futures)):
            error = future.exception()
            if error is not None:
                failed.append(f"answers of {futures[future]}: {error}")
    return failed


def groups(configs: Iterable[RunConfig]) -> dict[str, list[RunConfig]]:
    """Runs that can be made together: they differ in their method only."""
    found: dict[str, list[RunConfig]] = {}
    for config in configs:
        shared = config.model_copy(update={"method": ""})
        found.setdefault(shared.run_id, []).append(config)
    return found


def _answer(configs: list[RunConfig]) -> None:
    run_together(configs, progress=False)


def make(runs: list[Job], pages: list[Job], workers: int) -> list[str]:
    """Answers, their notebooks, the pages that read them; what failed, a line each."""
    failed = answer_together([job.config for job in runs if job.config], workers)
    if not failed:
        failed = execute_all(runs, package_files(), workers)
    if not failed:
        failed = execute_all(pages, [*package_files(), *record_files()], workers)
    return failed


def describe(size: str, runs: int, found: preflight.Survey) -> list[str]:
    """What a size would do, a line each."""
    counts = [f"  {name}: {n} questions" for name, n in found.questions.items()]
    told = f"{size}: {runs} runs, {found.answers} answers from the data that are here"
    return [told, *counts]


def _stop(lines: list[str], code: int) -> NoReturn:
    for line in lines:
        typer.echo(line, err=True)
    raise typer.Exit(code)


def _workers(configs: list[RunConfig]) -> int:
    """One for a GPU, whose memory several models would overfill; else one a core."""
    on_gpu = any(config.device.startswith("cuda") for config in configs)
    return 1 if on_gpu else os.cpu_count() or 1


def main(
    matrix: Path = MATRIX,
    size: str = "embedded",
    workers: int = 0,
    dry_run: bool = False,
) -> None:
    """Execute all run notebooks of a size, then the pages that read their records."""
    try:
        runs, pages = read_matrix(matrix, size)
    except (OSError, ValueError) as error:
        _stop([f"vicrop.execute: {error}"], 2)
    configs = [job.config for job in runs if job.config]
    found = preflight.survey(configs)
    missing = [f"missing: {line}" for line in found.missing]
    if dry_run:
        typer.echo("\n".join([*describe(size, len(runs), found), *missing]))
        return
    if missing:
        _stop([f"{size}: nothing was run; get these first", *missing], 2)
    workers = workers or _workers(configs)
    # Threads of several workers would fight for the same cores.
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // workers))
    failed = make(runs, pages, workers)
    _stop([f"failed: {line}" for line in failed], 1 if failed else 0)


if __name__ == "__main__":
    typer.run(main)
