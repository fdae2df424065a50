"""The command line's promises, with a few inputs that are drawn the same each time.

``make fuzz`` tries thousands of others. What a promise broke on has a test of its own
in ``test_field_fuzz.py``.
"""

import subprocess
import sys

import pytest
from hypothesis import Phase

from tests.field import promises


@pytest.mark.parametrize("name", promises.PROMISES)
def test_promises_hold_for_what_people_bring(name):
    same = {"derandomize": True, "phases": [Phase.generate]}
    tally = promises.tried(name, examples=6, **same)
    assert tally.examples >= 6 and set(tally.statuses) <= {0, 1, 2}


@pytest.mark.slow
def test_a_process_of_its_own_promises_the_same(tmp_path):
    told = [sys.executable, "-m", "vicrop.cli", "run", "--dataset", "\udcff nowhere"]
    ended = subprocess.run(told, cwd=tmp_path, capture_output=True)
    (line,) = ended.stderr.splitlines()
    assert (ended.returncode, ended.stdout) == (2, b"") and line.startswith(b"vicrop: ")
    assert list(tmp_path.iterdir()) == []
