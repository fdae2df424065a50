#!/usr/bin/env python3
"""Stands in for SLURM: one file under its commands' names, running jobs on this machine.

``sbatch`` notes what it was told and starts the job; ``sacct`` says how jobs are. A job
is preempted (SIGTERM, a second later SIGKILL) or loses its node (SIGKILL) with the
chance in ``STAND_IN_FAILS``, at a random moment of its first ``STAND_IN_WITHIN``
seconds; the same job fails in the same way each time.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

HOME = Path(os.environ["STAND_IN_HOME"])
FAILS = float(os.environ.get("STAND_IN_FAILS", "0"))
WITHIN = float(os.environ.get("STAND_IN_WITHIN", "5"))


def sbatch(told: list[str]) -> None:
    """Start a job; its number on stdout."""
    number = 1 + len(list(HOME.glob("*.json")))
    (HOME / f"{number}.json").write_text(json.dumps(told))
    (HOME / f"{number}.state").write_text("PENDING")
    log = told[told.index("--output") + 1].replace("%j", str(number))
    with open(log, "a") as out:
        subprocess.Popen(
            [sys.executable, __file__, "job", str(number)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    print(number)


def job(told: list[str]) -> None:
    """Run a job to its end, or to what befalls it."""
    number = int(told[0])
    options = json.loads((HOME / f"{number}.json").read_text())
    (command,) = [one.removeprefix("--wrap=") for one in options if "--wrap=" in one]
    state = HOME / f"{number}.state"
    state.write_text("RUNNING")
    environment = {**os.environ, "SLURM_JOB_ID": str(number)}
    process = subprocess.Popen(
        command, shell=True, env=environment, start_new_session=True
    )
    chance = random.Random(number)
    if chance.random() < FAILS:
        preempted = chance.random() < 0.5
        time.sleep(chance.uniform(0, WITHIN))
        if process.poll() is None:
            if preempted:
                os.killpg(process.pid, signal.SIGTERM)
                time.sleep(1)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            state.write_text("PREEMPTED" if preempted else "NODE_FAIL")
            return
    state.write_text("FAILED" if process.wait() else "COMPLETED")


def sacct(told: list[str]) -> None:
    """How all jobs are."""
    for file in sorted(HOME.glob("*.state")):
        print(f"{file.stem}|{file.read_text()}")


def srun(told: list[str]) -> None:
    """Run what follows the options."""
    while told and told[0].startswith("-"):
        told = told[1:]
    os.execvp(told[0], told)


def sacctmgr(told: list[str]) -> None:
    """The accounts that there are."""
    print("lab")


def nothing(told: list[str]) -> None:
    """Of the other commands only the exit status is wanted."""


if __name__ == "__main__":
    if sys.argv[1:2] == ["job"]:
        job(sys.argv[2:])
    else:
        known = {"sbatch": sbatch, "sacct": sacct, "srun": srun, "sacctmgr": sacctmgr}
        known.get(Path(sys.argv[0]).name, nothing)(sys.argv[1:])
