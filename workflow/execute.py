"""papermill: run configurations and pages -> executed notebooks for the book.

``python -m workflow.execute`` is what the workflow calls once records are there.
"""

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Annotated, Any

import nbformat
import papermill
import typer
from nbclient.exceptions import DeadKernelError
from nbformat.v4 import new_markdown_cell
from papermill.exceptions import PapermillExecutionError
from papermill.inspection import inspect_notebook
from tqdm import tqdm

from vicrop import paths
from vicrop.run import results
from vicrop.run.folder import RunFolder
from vicrop.run.records import HOW, RunConfig
from workflow import formats, links, planned, status, warm

TEMPLATE = "run"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Each library reads its own first; Snakemake sets all of them to a job's threads."""
LARGEST_DOWNLOAD = 2_000_000
"""Bytes of a run's records up to which the book brings them along."""
LAST = ("status",)
"""Pages that say what became of the others."""


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
    given = config.model_dump(exclude_defaults=True, exclude=set(HOW))
    named = {"model": config.model, "method": config.method, "dataset": config.dataset}
    title = f"{config.model} · {results.label(config)} · {config.dataset}"
    parameters = {**given, **named, "limit": config.limit, "progress": False}
    return Job(TEMPLATE, f"runs/{config.run_id}", parameters, title, config)


def fingerprint(job: Job, depends: Iterable[Path]) -> str:
    """Changes with the source, the parameters and every file that it depends on.

    And with what the page says first: of a run, whether it brings its records along.
    """
    told = [job.parameters, opening(job)]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
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
    """The package's sources, the explorer's page among them, and weights."""
    package = Path(__file__).parent
    kinds = ("*.py", "*.safetensors", "*.html", "*.css", "*.js")
    return [file for kind in kinds for file in package.rglob(kind)]


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
    book.cells.insert(1, new_markdown_cell(opening(job)))
    half = paths.executed() / status.UNFINISHED / f"{job.target}.ipynb"
    half.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    papermill.execute_notebook(
        book,
        str(half),
        parameters=job.parameters,
        kernel_name="python3",
        engine_name=warm.NAME,
        progress_bar=False,
        cwd=str(paths.notebooks()),
    )
    status.write_note(job.target, time.perf_counter() - started)
    strip(half, job.parameters, mark)
    job.output.parent.mkdir(parents=True, exist_ok=True)
    half.replace(job.output)
    return job.output


def opening(job: Job) -> str:
    """What a page says first: how to run it again; a run's, where its records are."""
    said = links.line(job.source, job.parameters)
    if job.config is None:
        return said
    records = RunFolder.of(job.config).records_file
    where = links.code(f"{records.parent.parent.name}/{records.parent.name}")
    if not records.exists() or records.stat().st_size > LARGEST_DOWNLOAD:
        return f"{said}\n\n**Its records:** {records.name} in {where}"
    path = os.path.relpath(records, job.output.parent)
    return (
        f"{said}\n\n**Its records:** {{download}}`{records.name} <{path}>` in {where}"
    )


def strip(file: Path, parameters: dict[str, Any], mark: str) -> None:
    """Drop what changes from one execution to the next, in place.

    Times, random ids, and counts of cells that begin where another notebook ended.
    Figures are left in one form each.
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
            _settle(cell, number)
    nbformat.write(book, file)


def _settle(cell: nbformat.NotebookNode, number: int) -> None:
    cell.execution_count = number
    for output in cell.outputs:
        if output.output_type == "execute_result":
            output.execution_count = number
        if "data" in output:
            output.data = nbformat.from_dict(formats.choose(output.data))


def execute_all(jobs: list[Job], depends: list[Path], workers: int) -> list[str]:
    """Execute what is not current, side by side; what failed, a line each."""
    marked = [(job, fingerprint(job, depends)) for job in jobs]
    todo = [(job, mark) for job, mark in marked if not is_current(job, mark)]
    failed = []
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # tqdm, of ipywidgets
    with pool(workers) as processes:
        futures = {processes.submit(execute, *one): one[0] for one in todo}
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


def pool(workers: int) -> ProcessPoolExecutor:
    """Processes of their own, which end with this one however it ends."""
    return ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=end_with_parent
    )


def end_with_parent() -> None:
    """Let this process end when its parent does: a killed one tells nobody."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def make_runs(configs: Iterable[RunConfig], workers: int) -> list[str]:
    """Execute the notebooks of runs whose records are there; what failed."""
    return execute_all(
        [run_job(config) for config in configs], package_files(), workers
    )


def make_pages(pages: Iterable[str], workers: int) -> list[str]:
    """Execute the pages that read the runs' records; what failed, a line each."""
    jobs = [Job(page, page, {}) for page in pages]
    depends = [*package_files(), *record_files()]
    first = [job for job in jobs if job.source not in LAST]
    failed = execute_all(first, depends, workers)
    last = [job for job in jobs if job.source in LAST]
    if last:
        failed += execute_all(last, [*depends, *page_files()], 1)
    return failed


def page_files() -> list[Path]:
    """Of all pages but the last ones: copies, failed ones too, and what they took."""
    found = [
        *paths.executed().rglob("*.ipynb"),
        *status.notes().rglob("*.json"),
        *paths.runs().glob("*/meta.json"),
    ]
    return [file for file in found if file.stem not in LAST]


def main(
    size: str = "embedded",
    group: Annotated[
        str, typer.Option(help="Only the run notebooks of this group of the plan.")
    ] = "",
    pages: Annotated[
        bool, typer.Option("--pages", help="Only the pages that read the records.")
    ] = False,
    workers: Annotated[int, typer.Option(help="0: one a core.", min=0)] = 0,
) -> None:
    """Execute the notebooks of a size whose records are there; no others."""
    plan = planned.read(size)
    workers = workers or os.cpu_count() or 1
    # Threads of several workers would fight for the same cores.
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    os.environ.update(dict.fromkeys(THREADS, threads))
    chosen = [plan.groups[group]] if group else list(plan.groups.values())
    failed = []
    if not pages:
        failed += make_runs([c for one in chosen for c in one.configs], workers)
    if not group and not failed:
        failed += make_pages(plan.pages, workers)
    for line in failed:
        typer.echo(f"failed: {line}", err=True)
    raise typer.Exit(1 if failed else 0)


if __name__ == "__main__":
    typer.run(main)
