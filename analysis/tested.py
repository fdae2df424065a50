"""How the product was tested: what people bring, inputs drawn at random, kills, tests.

Read from files beside the tests; nothing is run here.
"""

import ast
import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from vicrop import paths

TESTS = paths.ROOT / "tests"
FIELD = TESTS / "field"
CASES = FIELD / "cases.toml"
NUMBER = re.compile(r"(Ours, as c|C)ases? (\d+(?:(?:, and|,| and) \d+)*)")
"""How the docstring of a test begins that holds a numbered case, or one like it."""

STATUSES = {"0": "whole", "1": "whole, samples failed", "2": "refused"}
"""What exit statuses mean, of those that a call may end with."""

SUFFERED = ("records lost", "records doubled", "records wrong", "matrices that differ")
"""What a kill must not do, as ``benchmarks/soak.json`` counts it."""


class Test(NamedTuple):
    """A test function, read and not run.

    Attributes:
        file: it is in.
        name: of the function.
        cases: numbers that its docstring begins with.
        listed: whether it holds these, and not one that was found since.
    """

    file: Path
    name: str
    cases: tuple[int, ...]
    listed: bool

    @property
    def sentence(self) -> str:
        """What it promises."""
        return self.name.removeprefix("test_").replace("_", " ")


def tests(folder: Path = TESTS, among: str = "test_*.py") -> list[Test]:
    """The test functions of a folder."""
    return [test for file in sorted(folder.rglob(among)) for test in _tests(file)]


def _tests(file: Path) -> Iterator[Test]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            said = NUMBER.match(ast.get_docstring(node) or "")
            numbers = tuple(map(int, re.findall(r"\d+", said[2]))) if said else ()
            listed = said is not None and said[1] == "C"
            yield Test(file, node.name, numbers, listed)


def field_tests() -> list[Test]:
    """The tests of what people bring."""
    return tests(FIELD, "test_field_*.py")


def cases() -> list[dict[str, Any]]:
    """What people bring, a case each, as ``tests/field/cases.toml`` has it."""
    return tomllib.loads(CASES.read_text(encoding="utf-8"))["case"]


def case_table() -> pd.DataFrame:
    """A row a numbered case, and how many tests hold it."""
    held = Counter(
        number for test in field_tests() if test.listed for number in test.cases
    )
    rows = [
        {"case": one["number"], **_row(one), "tests": held[one["number"]]}
        for one in cases()
        if "number" in one
    ]
    return pd.DataFrame(rows).drop(columns="kind")  # the page is wide enough for five


def found_table() -> pd.DataFrame:
    """A row a case that was found since, by trying what was not on the list."""
    rows = [
        _row(one) | {"tests": len(one["tests"])}
        for one in cases()
        if "number" not in one
    ]
    return pd.DataFrame(rows)


def _row(case: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "kind": case["kind"],
        "somebody brings": case["brought"],
        "what happened": case["before"],
        "what happens": case["now"],
    }


def test_table() -> pd.DataFrame:
    """A row a test of what people bring: its case, or what it is like, and sentence."""
    rows = [
        {
            "kind": test.file.stem.removeprefix("test_field_"),
            "case": ", ".join(map(str, test.cases)),
            "found since": "" if test.listed else "yes",
            "promise": test.sentence,
        }
        for test in field_tests()
    ]
    return pd.DataFrame(rows)


def fuzz_table(report: Path) -> pd.DataFrame:
    """A row a promise: what was tried, how calls ended, and what broke it.

    Args:
        report: of ``make fuzz``.
    """
    promises = json.loads(report.read_text(encoding="utf-8"))["promises"]
    return pd.DataFrame([_promise(name, one) for name, one in promises.items()])


def _promise(name: str, tried: Mapping[str, Any]) -> dict[str, Any]:
    ended = Counter(tried["statuses"])
    known = {said: ended.pop(key, 0) for key, said in STATUSES.items()}
    return {
        "given": name,
        "promise": tried["promise"],
        "inputs": tried["examples"],
        **known,
        "ended otherwise": ended.total(),
        "broken by": len(tried["failures"]),
    }


def soak_table(report: Path) -> pd.DataFrame:
    """What ``make soak`` counted, a row each.

    Args:
        report: of ``make soak``.
    """
    counted = json.loads(report.read_text(encoding="utf-8"))
    return pd.DataFrame(counted.items(), columns=["counted", "number"])


def suite_table() -> pd.DataFrame:
    """A row a folder of tests: its files and its test functions."""
    found = pd.DataFrame(
        [(test.file.relative_to(TESTS).parts, test.name) for test in tests()],
        columns=["parts", "name"],
    )
    found["folder"] = ["/".join(("tests", *parts[:-1][:1])) for parts in found["parts"]]
    counted = found.groupby("folder").agg(
        files=("parts", "nunique"), tests=("name", "size")
    )
    return counted.reset_index()


def totals(fuzz: pd.DataFrame, soak: pd.DataFrame) -> dict[str, str]:
    """Numbers that the page's text says.

    Args:
        fuzz: see ``fuzz_table``.
        soak: see ``soak_table``.
    """
    field, killed = field_tests(), soak.set_index("counted")["number"]
    counts = {
        "cases": len(case_table()),
        "found": sum(not test.listed for test in field),
        "field_tests": len(field),
        "inputs": fuzz["inputs"].sum(),
        "promises": len(fuzz),
        "broken": (fuzz["broken by"] > 0).sum(),
        "kills": killed["kills"],
        "looked_at": killed["records looked at"],
        "suffered": killed[list(SUFFERED)].sum(),
        "tests": suite_table()["tests"].sum(),
    }
    return {name: f"{count:,}" for name, count in counts.items()}
