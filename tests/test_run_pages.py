"""A small book with pages of runs: they are built, and in no sidebar nor search."""

import subprocess
import sys

import pytest

from vicrop import paths

CONF = """
import sys
sys.path.append({path!r})
extensions = ["runpages"]
numfig = True
exclude_patterns = []
html_static_path = ["static"]
"""
TREE = ".. toctree::\n\n   book/executed/status\n"
STATUS = "All\n===\n\nTo :doc:`runs/one`.\n\n.. toctree::\n   :glob:\n\n   runs/*\n"


@pytest.mark.slow
def test_pages_of_runs_are_built_and_left_out(tmp_path):
    runs = tmp_path / "book" / "executed" / "runs"
    runs.mkdir(parents=True)
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "runs.css").touch()
    extensions = paths.ROOT / "book" / "_extensions"
    (tmp_path / "conf.py").write_text(CONF.format(path=str(extensions)))
    (tmp_path / "index.rst").write_text(f"Book\n====\n\n{TREE}")
    (runs.parent / "status.rst").write_text(STATUS)
    for name in ("one", "two"):
        (runs / f"{name}.rst").write_text(f"Run {name}\n=======\n\nparticular\n")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html"]
    subprocess.run([*command, str(tmp_path), str(out)], check=True)
    index = (out / "index.html").read_text()
    assert "executed/status.html" in index and "runs/" not in index
    assert 'href="runs/one.html"' in (out / "book/executed/status.html").read_text()
    assert (out / "book/executed/runs/two.html").exists()
    assert "particular" not in (out / "searchindex.js").read_text()
