#!/usr/bin/env python3
"""Stands in for SLURM: under its commands' names, it runs jobs on this machine.

``sbatch`` notes what it was told and starts the job; ``sacct`` says how jobs are. With
the chance in ``STAND_IN_FAILS``, at a random moment of its first ``STAND_IN_WITHIN``
seconds, a job loses its node (SIGKILL) or is preempted (SIGTERM, a second later
SIGKILL), and is started again if it may be requeued; or it is ended from outside and
fails. With the same ``STAND_IN_SEED``, the same start of a job meets the same fate.
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
SEED = os.environ.get("STAND_IN_SEED", "0")
WITHIN = float(os.environ.get("STAND_IN_WITHIN", "5"))


def sbatch(told: list[str]) -> None:
    """Start a job; its number on stdout."""
    number = 1
    while not claim(HOME / f"{number}.json", json.dumps(told)):
        number += 1
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


def claim(file: Path, text: str) -> bool:
    """Write a file that is not there yet: two submissions may come at once."""
    try:
        with file.open("x") as new:
            new.write(text)
    except FileExistsError:
        return False
    return True


def job(told: list[str]) -> None:
    """Run a job to its end, again from the start if it is to be requeued."""
    number = int(told[0])
    options = json.loads((HOME / f"{number}.json").read_text())
    state = HOME / f"{number}.state"
    state.write_text("FAILED")  # unless it gets further
    (command,) = [one.removeprefix("--wrap=") for one in options if "--wrap=" in one]
    for attempt in range(9):
        state.write_text("RUNNING")
        ended = run(command, number, random.Random(f"{SEED}.{number}.{attempt}"))
        with (HOME / "history").open("a") as history:
            history.write(f"{number} {ended}\n")
        if ended not in ("PREEMPTED", "NODE_FAIL") or "--requeue" not in options:
            break
    state.write_text(ended)


def run(command: str, number: int, chance: random.Random) -> str:
    """Run a command once; the state in which it ends."""
    environment = {**os.environ, "SLURM_JOB_ID": str(number)}
    process = subprocess.Popen(
        command, shell=True, env=environment, start_new_session=True
    )
    if chance.random() < FAILS:
        fate = chance.choice(["PREEMPTED", "NODE_FAIL", "FAILED"])
        time.sleep(chance.uniform(0, WITHIN))
        if process.poll() is None:
            strike(process, fate)
            return fate
    return "FAILED" if process.wait() else "COMPLETED"


def strike(process: subprocess.Popen, fate: str) -> None:
    """End a job: a lost node at once, the others after a second to finish in."""
    if fate != "NODE_FAIL":
        os.killpg(process.pid, signal.SIGTERM)
        time.sleep(1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def sacct(told: list[str]) -> None:
    """How all jobs are; or where one ran, each on a node of its own."""
    if "-o" in told:  # the plugin asks for the node that failed, to avoid it
        print(f"node{told[told.index('-j') + 1]}")
        return
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
