"""For `pytest --nbval-lax notebooks`: the small data and runs that the pages read.

Made once in a temporary folder, with the trained tiny model and few questions, so that
no test touches the reader's own data or results.
"""

import os
import tempfile
from functools import partial
from pathlib import Path

import kernels
from jupyter_client.provisioning import local_provisioner

from data_prep import plates
from vicrop.run.loop import run_together
from workflow import matrix, plans
from workflow.execute import pool
from workflow.studies import remade

stock = local_provisioner.launch_kernel
local_provisioner.launch_kernel = partial(kernels.launch, stock)


def pytest_sessionstart(session):
    """Make them, before the workers of a session that has some start."""
    if hasattr(session.config, "workerinput") or session.config.option.collectonly:
        return
    folder = tempfile.TemporaryDirectory(prefix="vicrop-smoke-")
    session.config.add_cleanup(folder.cleanup)
    make_smoke(Path(folder.name))


def pytest_sessionfinish():
    """Let no kernel's process stay behind."""
    kernels.stop()


def make_smoke(folder: Path) -> None:
    """Every embedded data set and run, at smoke size, where notebooks look for them."""
    os.environ["VICROP_DATA"] = str(folder / "data")
    os.environ["VICROP_RESULTS"] = str(folder / "results")
    for name in plates.RECIPES:
        small = plates.with_quota(name)
        plates.make(name, folder / "data", progress=False, recipe=small)
    configs, _ = matrix.chosen(plans.MATRIX, "embedded")
    with pool(os.cpu_count() or 1) as workers:
        answer = partial(run_together, progress=False)
        list(workers.map(answer, plans.grouped(configs).values()))
    remade.main(count=0, day="")  # of other data than these
