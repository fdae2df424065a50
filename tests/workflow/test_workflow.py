"""The workflow itself: planned, run on this machine, and on a SLURM that kills jobs."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vicrop import paths
from vicrop.run import loop
from vicrop.run.folder import RunFolder
from vicrop.run.records import RunConfig

METHODS = ["no-crop", "rel-att"]
PROFILES = paths.ROOT / "workflow" / "profiles"


@pytest.fixture
def place(drawn, tmp_path):
    """Data, a matrix of one group in three shards, and an environment for jobs."""
    data = shutil.copytree(drawn, tmp_path / "data")
    block = {
        "models": ["tiny-llava"],
        "datasets": {str(data): METHODS},
        "shards": 3,
        "max_new_tokens": 2,
    }
    (tmp_path / "matrix.yaml").write_text(yaml.safe_dump({"small": {"runs": [block]}}))
    return tmp_path


def config_of(place, method):
    config = RunConfig(dataset=str(place / "data"), max_new_tokens=2)
    return config.model_copy(update={"method": method})


def snakemake(place, *args, **environment):
    """Run the workflow from the repository's root; its own folder for what it notes."""
    settings = ["size=small", f"matrix={place / 'matrix.yaml'}"]
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *args, "--config", *settings],
        cwd=paths.ROOT,
        env={
            **os.environ,
            "VICROP_RESULTS": str(place / "results"),
            "OMP_NUM_THREADS": "1",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=300,
    )


def wholes(place):
    """Markers of groups that are to be whole."""
    name = config_of(place, "all").run_id
    return str(place / "results" / "work" / name / "whole.done")


def check_records(place, monkeypatch):
    """What the workflow made, beside runs in one piece."""
    for method in METHODS:
        monkeypatch.setenv("VICROP_RESULTS", str(place / "results"))
        made = RunFolder.of(config_of(place, method)).records_file.read_bytes()
        monkeypatch.setenv("VICROP_RESULTS", str(place / "alone"))
        alone = loop.run(config_of(place, method), progress=False)
        assert made == alone.records_file.read_bytes()


def test_what_would_run_is_named_with_its_reason(place):
    said = snakemake(place, "-n", "-p", "--nolock", "pages")
    assert said.returncode == 0, said.stderr
    told = said.stdout + said.stderr
    assert re.search(r"^answers +3$", told, re.M)
    assert "--shard 2 --shards 3" in told and "Missing output files" in told
    assert not (place / "results" / "work").exists()


@pytest.mark.slow
def test_shards_are_run_and_merged_here(place, monkeypatch):
    matrix = place / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace("shards: 3", "shards: 2"))
    profile = ["--profile", str(PROFILES / "local"), "--nolock"]
    said = snakemake(place, *profile, wholes(place))
    assert said.returncode == 0, said.stderr
    check_records(place, monkeypatch)
    again = snakemake(place, *profile, wholes(place))
    assert "Nothing to be done" in again.stderr


def asking_for_gpus():
    """Ask for what a large model would, of the profile's jobs; they run on a CPU."""
    profile = yaml.safe_load((PROFILES / "slurm" / "config.yaml").read_text())
    asked = {"gpu": 1, "mem_mb": 18000, **profile["set-resources"]["answers"]}
    return ["--set-resources", *(f"answers:{key}={n}" for key, n in asked.items())]


@pytest.mark.slow
def test_shards_survive_a_slurm_that_kills_jobs(place, monkeypatch):
    """Half of all starts end badly; requeued or tried again, they go on."""
    commands, home = place / "bin", place / "jobs"
    commands.mkdir(), home.mkdir()
    names = "sbatch sacct srun sacctmgr sshare scontrol scancel sinfo squeue".split()
    for name in names:
        (commands / name).symlink_to(
            Path(__file__).parents[1] / "slurm" / "stand_in.py"
        )
    said = snakemake(
        place,
        wholes(place),
        *("--profile", str(PROFILES / "slurm"), "--nolock"),
        *asking_for_gpus(),
        *("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5"),
        *("--slurm-logdir", str(place / "logs"), "--jobs", "2", "--retries", "6"),
        PATH=f"{commands}:{os.environ['PATH']}",
        STAND_IN_HOME=str(home),
        STAND_IN_FAILS="0.5",
        STAND_IN_WITHIN="8",
        STAND_IN_SEED="9326",  # each of the first three starts meets another fate
    )
    assert said.returncode == 0, said.stderr
    check_records(place, monkeypatch)
    states = [line.split()[1] for line in (home / "history").read_text().splitlines()]
    assert states.count("COMPLETED") == 3
    assert {"PREEMPTED", "NODE_FAIL"} & set(states) and "FAILED" in states
    told = [json.loads(file.read_text()) for file in home.glob("*.json")]
    for options in told:
        line = " ".join(options)
        for wanted in ("-A lab", "-p gpu", "--mem 18000", "--gpus=1"):
            assert wanted in line, (wanted, line[:600])
        assert re.search(r"-t (240|480) ", line)  # twice the time at the next attempt
        assert "--signal=TERM@120" in line and "--requeue" in line


def test_paper_sized_plan_is_196_runs_in_216_shards():
    """Read from the matrix alone; the workflow's plan of it is timed elsewhere."""
    from workflow import matrix

    configs, pages = matrix.chosen(paths.ROOT / "workflow" / "matrix.yaml", "cluster")
    assert (len(configs), pages) == (4 * 7 * 7, [])
    alike = {(c.model, c.dataset): c.shards for c in configs}
    assert (len(alike), sum(alike.values())) == (28, 216)


@pytest.mark.parametrize("name", ["local", "slurm", "kubernetes"])
def test_profiles_are_yaml(name):
    told = yaml.safe_load((PROFILES / name / "config.yaml").read_text())
    assert (told is None) == (name == "kubernetes")  # which is commented out
