"""papermill: notebooks -> executed copies, those of a process in one kept kernel.

Importing torch and transformers takes a kernel longer than most notebooks need for the
rest. Names are cleared between notebooks and figure formats set anew; imported modules
stay. That every notebook runs in a fresh kernel is what nbval tests.

``python -m workflow.execute`` executes what has no executed copy. Which copies are
stale, Snakemake decides (``due`` in ``workflow/Snakefile``), and takes those away.
"""

import os
import platform
import shutil
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context, parent_process
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Annotated, Any

import nbformat
import papermill
import typer
from jupyter_client.manager import KernelManager
from nbclient.exceptions import DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError
from tqdm import tqdm

import workflow
from vicrop.run import provenance
from workflow import formats, matrix, pages, plans
from workflow.pages import Page

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Each library reads its own first; Snakemake sets all of them to a job's threads."""
LAST = "status"
"""The page that says what became of the others."""
ENGINE = "vicrop-warm"


class WarmEngine(NBClientEngine):
    """Executes the notebooks of one process in one kernel, one after the other."""

    kernel: KernelManager | None = None

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name: str, **kwargs: Any):
        """Execute in the kept kernel; a dead one is replaced."""
        kernel = cls._fresh(kernel_name)
        client = PapermillNotebookClient(nb_man, km=kernel, kernel_name=kernel_name)
        try:
            return client.execute()
        finally:
            client.kc.stop_channels()

    @classmethod
    def _fresh(cls, kernel_name: str) -> KernelManager:
        """The kernel, without names of an earlier notebook."""
        if cls.kernel is None or not cls.kernel.is_alive():
            cls.kernel = _start(kernel_name)
        client = cls.kernel.blocking_client()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        for code in (formats.INSTALL, "%reset -f"):
            said = client.execute_interactive(code, store_history=False, timeout=60)
            if said["content"]["status"] != "ok":
                raise RuntimeError(f"a kernel cannot {code}: {said['content']}")
        client.stop_channels()
        return cls.kernel


def _start(kernel_name: str) -> KernelManager:
    """A kernel behind sockets of its own, which go with this process."""
    # Named by default after nothing: two processes would meet in the same sockets.
    place = tempfile.mkdtemp(prefix="vicrop-kernel-")
    # Not atexit, which a forked process does not run.
    Finalize(None, shutil.rmtree, (place, True), exitpriority=1)
    address = os.path.join(place, "ipc")
    kernel = KernelManager(kernel_name=kernel_name, transport="ipc", ip=address)
    kernel.start_kernel()
    Finalize(None, kernel.shutdown_kernel, (True,), exitpriority=2)
    return kernel


papermill_engines.register(ENGINE, WarmEngine)


def execute(page: Page) -> Path:
    """Execute one notebook; its page appears only if every cell ran.

    Returns:
        The page as the book shows it.

    Raises:
        PapermillExecutionError: if a cell failed; the half-executed notebook stays in
            ``book/executed/unfinished/``.
    """
    page.half.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    papermill.execute_notebook(
        str(page.notebook),
        str(page.half),
        parameters=page.parameters,
        kernel_name="python3",
        engine_name=ENGINE,
        progress_bar=False,
        cwd=str(workflow.notebooks()),
    )
    _keep(page, time.perf_counter() - started)
    return pages.lay(page)


def _keep(page: Page, seconds: float) -> None:
    """Keep what was executed, its charts without their dates, with what made it."""
    book = nbformat.read(page.half, as_version=4)
    outputs = [out for cell in book.cells for out in cell.get("outputs", ())]
    for output in outputs:
        if "data" in output:
            output.data = nbformat.from_dict(formats.undated(output.data))
    book.metadata["vicrop"] = {
        "seconds": round(seconds, 1),
        "versions": provenance.versions(),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    page.kept.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(book, page.half)
    shutil.move(page.half, page.kept)


def execute_all(chosen: list[Page], workers: int) -> list[str]:
    """Execute what has no copy, side by side; what failed, a line each."""
    failed = []
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # tqdm, of ipywidgets
    with pool(workers) as processes:
        todo = [page for page in chosen if not page.kept.exists()]
        futures = {processes.submit(execute, page): page for page in todo}
        bar = tqdm(as_completed(futures), desc="notebooks", total=len(futures))
        for future in bar:
            page = futures[future]
            bar.set_postfix_str(page.target)
            try:
                future.result()
            except (PapermillExecutionError, DeadKernelError) as error:
                reason = str(error).strip().splitlines()[-1]
                half = f"book/executed/unfinished/{page.target}.ipynb"
                failed.append(f"{page.target}: {reason} ({half})")
    return failed


def pool(workers: int) -> ProcessPoolExecutor:
    """Processes of their own, which end with this one however it ends.

    Forked, all at once before this one has threads: what it has imported is there.
    """
    return ProcessPoolExecutor(
        workers, mp_context=get_context("fork"), initializer=end_with_parent
    )


def end_with_parent() -> None:
    """Let this process end when its parent does: a killed one tells nobody."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main(
    size: str = "embedded",
    file: Annotated[Path, typer.Option(help="The matrix.")] = plans.MATRIX,
    workers: Annotated[int, typer.Option(help="0: one a core.", min=0)] = 0,
) -> None:
    """Execute the pages of a size that have no executed copy, those of runs first."""
    cores = os.cpu_count() or 1
    workers = workers or cores
    # Threads of several workers would fight for the same cores.
    os.environ.update(dict.fromkeys(THREADS, str(max(1, cores // workers))))
    configs, names = matrix.chosen(file, size)
    runs = list(map(pages.of_run, configs))
    for page in runs:  # others lead to those that are there
        if page.kept.exists() and not page.shown.exists():
            pages.lay(page)
    others = [Page(name, name) for name in names if name != LAST]
    failed = execute_all([*runs, *others], workers)
    if LAST in names:
        failed += execute_all([Page(LAST, LAST)], 1)
    for line in failed:
        typer.echo(f"failed: {line}", err=True)
    raise typer.Exit(1 if failed else 0)


if __name__ == "__main__":
    typer.run(main)
