"""The page that says how it was tested, and the list of cases that it is made from."""

import json
from collections import Counter

import pandas as pd
import pytest

from analysis import tested
from tests.field.promises import PROMISES
from vicrop import paths

CASES = {case["number"]: case for case in tested.cases() if "number" in case}
FOUND = [case for case in tested.cases() if "number" not in case]


def test_cases_are_numbered_from_one_without_a_gap():
    numbers = [case["number"] for case in tested.cases() if "number" in case]
    assert numbers == list(range(1, len(numbers) + 1))


def test_every_case_has_a_test_and_every_test_a_case():
    listed = [test for test in tested.field_tests() if test.listed]
    assert {number for test in listed for number in test.cases} == set(CASES)


def test_what_was_found_since_names_tests_that_are_there():
    there = Counter(test.name for test in tested.field_tests())
    for case in FOUND:
        assert case["tests"] and all(there[name] == 1 for name in case["tests"])


def test_every_field_test_is_in_a_row_of_the_page():
    rows = tested.test_table()
    assert len(rows) == len(tested.field_tests()) and rows["promise"].all()


@pytest.mark.parametrize(
    ("docstring", "cases", "listed"),
    [
        ("Case 6: a formula.", (6,), True),
        ("Case 21, and 28.", (21, 28), True),
        ("Cases 1, 2 and 13: both.", (1, 2, 13), True),
        ("Ours, as case 3: a film.", (3,), False),
        ("In case 3 of them.", (), False),
    ],
)
def test_a_docstring_tells_the_case(tmp_path, docstring, cases, listed):
    file = tmp_path / "test_field_x.py"
    file.write_text(f'def test_it_holds():\n    """{docstring}"""\n')
    (found,) = tested.tests(tmp_path)
    assert found == (file, "test_it_holds", cases, listed)
    assert found.sentence == "it holds"


def test_statuses_that_are_none_are_counted_apart(tmp_path):
    tried = {"promise": "Holds.", "examples": 3, "statuses": {"0": 4, "70": 2}}
    report = tmp_path / "fuzzed.json"
    report.write_text(json.dumps({"promises": {"it": tried | {"failures": ["x"]}}}))
    (row,) = tested.fuzz_table(report).to_dict("records")
    assert (row["whole"], row["refused"], row["ended otherwise"]) == (4, 0, 2)
    assert (row["given"], row["inputs"], row["broken by"]) == ("it", 3, 1)


def test_the_report_is_of_todays_promises_and_nothing_broke_them():
    kept = tested.fuzz_table(tested.FIELD / "fuzzed.json")
    assert list(kept["given"]) == list(PROMISES)
    assert not kept[["broken by", "ended otherwise"]].any(axis=None)


def test_text_says_what_the_tables_count():
    fuzz = pd.DataFrame({"inputs": [1000, 2], "broken by": [0, 3]})
    soak = tested.soak_table(paths.ROOT / "benchmarks" / "soak.json")
    said = tested.totals(fuzz, soak)
    assert (said["inputs"], said["promises"], said["broken"]) == ("1,002", "2", "1")
    assert said["cases"] == str(len(CASES)) and said["suffered"] == "0"
    assert int(said["tests"].replace(",", "")) == tested.suite_table()["tests"].sum()
