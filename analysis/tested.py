"""How the product was tested: what people bring, inputs drawn at random, kills, tests.

Read from files beside the tests; nothing is run here.
"""

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from vicrop import paths

TESTS = paths.ROOT / "tests"
CASES, FUZZED = TESTS / "field" / "cases.toml", TESTS / "field" / "fuzzed.json"
SOAK = paths.ROOT / "benchmarks" / "soak.json"
NUMBER = re.compile(r"Cases? (\d+(?:(?:,| and) \d+)*)")
"""How the docstring of a test begins that holds a numbered case."""

STATUSES = {"0": "whole", "1": "whole, samples failed", "2": "refused"}
"""What exit statuses mean, of those that a call may end with."""

SUFFERED = ("records lost", "records doubled", "records wrong", "matrices that differ")
"""What a kill must not do, as ``benchmarks/soak.json`` counts it."""


class Test(NamedTuple):
    """A test function.

    Attributes:
        file: it is in.
        name: of the function.
        cases: numbers that its docstring begins with.
    """

    file: Path
    name: str
    cases: tuple[int, ...]

    @property
    def sentence(self) -> str:
        """What it promises."""
        return self.name.removeprefix("test_").replace("_", " ")


def tests(folder: Path = TESTS, among: str = "test_*.py") -> list[Test]:
    """The test functions of a folder, read and not run."""
    return [test for file in sorted(folder.rglob(among)) for test in _tests(file)]


def _tests(file: Path) -> Iterator[Test]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            said = NUMBER.match(ast.get_docstring(node) or "")
            numbers = re.findall(r"\d+", said[1]) if said else []
            yield Test(file, node.name, tuple(map(int, numbers)))


def cases(file: Path = CASES) -> list[dict[str, Any]]:
    """What people bring, each with the names of the tests that hold it.

    Args:
        file: TOML of ``case`` tables: ``kind``, ``brought``, ``before``, ``now``, and
            either a ``number``, which tests' docstrings name, or its ``tests``.
    """
    found = tests(file.parent, "test_field_*.py")
    return [
        case
        | {
            "tests": [
                test.name
                for test in found
                if test.name in case.get("tests", ())
                or case.get("number") in test.cases
            ]
        }
        for case in tomllib.loads(file.read_text(encoding="utf-8"))["case"]
    ]


def case_table(numbered: bool) -> pd.DataFrame:
    """A row a case: the numbered ones, or those found since."""
    rows = [
        {
            "kind": case["kind"],
            "somebody brings": case["brought"],
            "what happened": case["before"],
            "what happens": case["now"],
            "held by": "; ".join(
                Test(CASES, one, ()).sentence for one in case["tests"]
            ),
        }
        for case in cases()
        if ("number" in case) == numbered
    ]
    return pd.DataFrame(rows)


def fuzzed() -> dict[str, dict[str, Any]]:
    """What ``make fuzz`` counted, by promise."""
    return json.loads(FUZZED.read_text(encoding="utf-8"))["promises"]


def fuzz_table() -> pd.DataFrame:
    """A row a promise: inputs that were tried, how calls ended, what broke it."""
    rows = [
        {
            "given": name,
            "promise": one["promise"],
            "inputs": one["examples"],
            "calls": sum(one["statuses"].values()),
            **{said: one["statuses"].get(key, 0) for key, said in STATUSES.items()},
            "ended otherwise": sum(
                count for key, count in one["statuses"].items() if key not in STATUSES
            ),
            "promise broken": len(one["failures"]),
        }
        for name, one in fuzzed().items()
    ]
    return pd.DataFrame(rows)


def soak_table() -> pd.DataFrame:
    """What ``make soak`` counted, a row each."""
    counted = json.loads(SOAK.read_text(encoding="utf-8"))
    return pd.DataFrame(counted.items(), columns=["counted", "number"])


def suite_table() -> pd.DataFrame:
    """A row a folder of tests: its files and its test functions."""
    found = pd.DataFrame(tests(), columns=list(Test._fields))
    where = [file.relative_to(TESTS).parts[:-1] for file in found["file"]]
    found["folder"] = ["/".join(("tests", *parts[:1])) for parts in where]
    counted = found.groupby("folder").agg(
        files=("file", "nunique"), tests=("name", "size")
    )
    return counted.reset_index()


def totals() -> dict[str, int]:
    """Numbers that the page's text says."""
    fuzz, soak = fuzz_table(), dict(soak_table().itertuples(index=False))
    return {
        "cases": len(case_table(True)),
        "further": len(case_table(False)),
        "inputs": int(fuzz["inputs"].sum()),
        "calls": int(fuzz["calls"].sum()),
        "broken": int(fuzz["promise broken"].sum()),
        "kills": soak["kills"],
        "suffered": sum(soak[what] for what in SUFFERED),
        "tests": int(suite_table()["tests"].sum()),
    }
