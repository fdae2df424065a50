import base64
import csv
import json
import subprocess
import sys
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet as pq

from data_prep.originals import parquet
from data_prep.originals.parquet import ParquetCells, parquet_columns, parquet_rows
from data_prep.originals.rows import (
    Original,
    Row,
    TsvCells,
    checked,
    json_items,
    json_lines,
    json_rows,
    load_json,
    pictured_tsv,
)
from data_prep.originals.search import Originals
from tests.data_prep.handmade import one_line
from tests.data_prep.test_archives import spoilt, zipped
from tests.fixtures.makers.draw import write, write_parquet


@pytest.fixture
def entry(tmp_path):
    """Writes a file; its entry."""

    def made(data, name="a.json"):
        write(tmp_path / name, data if isinstance(data, bytes) else data.encode())
        return Originals([tmp_path]).need(name)

    return made


def fails(match, read, *args):
    """The error is one line."""
    with pytest.raises(ValueError, match=match) as e:
        read(*args)
    return one_line(e)


class Asked(Original):
    """A row for tests."""

    number: int
    words: tuple[str, ...]


@pytest.mark.parametrize(
    "values, told",
    [
        ([], r"field \(the row itself\): .*dictionary.*got '\[\]'"),
        ({"words": []}, r"field number: is missing; is this another split"),
        ({"number": "x", "words": []}, r"field number: .*integer.*got 'x'"),
        ({"number": 1, "words": "x"}, r"field words: .*tuple.*got 'x'"),
        ({"number": 1, "words": ["x", 2]}, r"field words.1: .*string.*got '2'"),
        ({"number": 1e400, "words": []}, r"field number: .*got 'inf'"),
    ],
)
def test_first_fault_of_a_row_is_told_with_its_place(values, told):
    fails(f"^a.json row 3 {told}", checked, Asked, Row("a.json row 3", values))


def test_value_that_is_told_is_short():
    line = fails("row 3", checked, Asked, Row("row 3", {"number": "x" * 9999}))
    assert len(line) < 250


def test_fields_that_are_not_read_do_not_matter():
    values = {"number": "7", "words": ["a"], "more": object()}
    assert checked(Asked, Row("", values)) == Asked(number=7, words=("a",))


@pytest.mark.parametrize("read", [load_json, json_rows, json_items])
@pytest.mark.parametrize("share", [0, 0.4, 0.99])
def test_torn_json_is_named(entry, read, share):
    whole = json.dumps({"data": [{"a": 1}] * 9})
    torn = entry(whole[: int(share * len(whole))])
    line = fails("a.json is not whole JSON .*fetch it again", read, torn)
    assert torn.where in line


def test_json_that_is_no_utf_8_is_named_with_the_byte(entry):
    fails(r"a.json is not UTF-8 text \(byte 2\)", load_json, entry(b'["\xe9"]'))


def test_mark_at_the_begin_of_a_text_does_not_matter(entry):
    assert load_json(entry(b"\xef\xbb\xbf[1]")) == [1]


def test_json_that_is_nested_without_end_is_named(entry):
    fails("is not whole JSON .*recursion", load_json, entry("[" * 200_000))


def test_number_of_a_million_digits_is_named(entry):
    fails("is not whole JSON .*digits", load_json, entry("9" * 1_000_000))


def test_question_id_that_is_a_key_twice_is_named(entry):
    twice = entry('{"07": {"question": "a"}, "08": {}, "07": {"question": "b"}}')
    fails("a.json is not whole JSON .key '07' is there twice", json_items, twice)


@pytest.mark.parametrize("text", ["{}", "[]", '"a"', "3", "null", '{"data": {}}'])
def test_json_of_another_structure_is_named(entry, text):
    fails("must hold a list under 'data'", json_rows, entry(text), "data")
    fails("must hold a list", json_rows, entry(text))
    if text != '{"data": {}}':
        fails("must hold an object of questions", json_items, entry(text))


def test_rows_of_json_come_with_their_place(entry):
    listed = entry('{"data": [1, 2]}')
    assert json_rows(listed, "data")[1] == Row(f"{listed.where} row 1", 2)
    keyed = entry('{"007": 1}', "b.json")
    assert json_items(keyed) == [("007", Row(f"{keyed.where} row 007", 1))]


def test_lines_of_json_keep_their_number(entry):
    rows = json_lines(entry('{"a": 1}\r\n\n{"a": "\u2028\x85"}\n', "a.jsonl"))
    assert [row.values["a"] for row in rows] == [1, "\u2028\x85"]
    assert [row.where[-5:] for row in rows] == ["row 0", "row 2"]


def test_torn_line_of_json_is_named(entry):
    torn = entry('{"a": 1}\n{"a": ', "a.jsonl")
    fails("a.jsonl row 1 is not whole JSON", json_lines, torn)


# Parquet


@pytest.fixture
def table(tmp_path):
    """Writes rows to a parquet file; its entry."""

    def made(rows, name="a.parquet"):
        write_parquet(tmp_path / name, rows)
        return Originals([tmp_path]).need(name)

    return made


def test_rows_of_several_files_follow_each_other(table):
    one = table([{"n": n, "x": "y"} for n in range(40)])
    two = table([{"n": n} for n in range(40, 50)], "b.parquet")
    rows = parquet_rows([one, two], ["n"])
    assert [row.values for row in rows] == [{"n": n} for n in range(50)]
    assert rows[41].where == f"{two.where} row 1"
    assert parquet_columns(one) == {"n": "int64", "x": "string"}


def test_parquet_in_a_zip_is_read_too(table, tmp_path):
    plain = table([{"n": 1, "image": b"a"}])
    (tmp_path / "in").mkdir()
    zipped(tmp_path / "in" / "a.zip", [("b.parquet", plain.bytes())])
    packed = Originals([tmp_path / "in"]).need("b.parquet")
    assert parquet_rows([packed], ["n"])[0].values == {"n": 1}
    [cell] = ParquetCells.of([packed], "image")
    assert cell.bytes() == b"a"


@pytest.mark.parametrize("share", [0, 0.3, 0.9, 0.999])
def test_torn_parquet_is_named(table, tmp_path, share):
    whole = table([{"n": str(n) * 99, "image": b"x"} for n in range(99)])
    data = whole.bytes()
    (tmp_path / "a.parquet").write_bytes(data[: int(share * len(data))])
    for read in (parquet_rows, ParquetCells.of):
        told = "a.parquet is not a whole parquet file .*fetch it again"
        fails(told, read, [whole], "n")


def test_spoilt_parquet_is_read_or_named_and_nothing_else(table, tmp_path, rng):
    whole = table([{"n": str(n) * 9, "image": {"bytes": b"x"}} for n in range(99)])
    data, named = whole.bytes(), 0
    for _ in range(200):
        (tmp_path / "a.parquet").write_bytes(spoilt(data, rng))
        try:
            parquet_rows([whole], ["n"])
            for cell in ParquetCells.of([whole], "image"):
                cell.bytes()
                break
        except ValueError as error:
            named += 1
            assert "a.parquet" in str(error) and "\n" not in str(error)
    assert named > 10


def test_column_that_is_not_there_is_named(table):
    found = table([{"n": 1, "m": 2}])
    told = "a.parquet has no column image; it has n, m"
    fails(told, parquet_rows, [found], ["n", "image"])
    fails(told, ParquetCells.of, [found], "image")


def test_text_that_is_no_utf_8_is_named(tmp_path):
    column = pyarrow.array([b"caf\xe9"]).cast(pyarrow.string(), safe=False)
    pq.write_table(pyarrow.table({"n": column}), tmp_path / "a.parquet")
    found = Originals([tmp_path]).need("a.parquet")
    fails("a.parquet is not a whole parquet file .*utf-8", parquet_rows, [found], ["n"])


@pytest.mark.parametrize(
    "cell", [b"jpeg", {"bytes": b"jpeg", "path": None}, base64.b64encode(b"jpeg")]
)
def test_picture_is_bytes_or_a_struct_or_base64(table, cell):
    text = cell.decode() if cell == base64.b64encode(b"jpeg") else cell
    cells = ParquetCells.of([table([{"image": text}] * 40)], "image")
    assert len(cells) == 40
    assert cells[33].bytes() == b"jpeg"
    read = dict(cells[0].container.read([39, 2]))
    assert read == {2: b"jpeg", 39: b"jpeg"}


@pytest.mark.parametrize("cell", [None, {"bytes": None, "path": "a.jpg"}, "", "x!"])
def test_cell_without_a_picture_is_named(table, cell):
    struct = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    kind = struct if isinstance(cell, dict) else pyarrow.string()
    column = pyarrow.array([None, cell], kind)
    found = table([{"image": "x"}])
    pq.write_table(pyarrow.table({"image": column}), found.key)
    [_, entry] = ParquetCells.of([found], "image")
    fails("a.parquet row 1 field image: (no picture|not base64)", entry.bytes)


@pytest.mark.parametrize("kind", ["string", "dictionary"])
def test_value_that_is_repeated_without_end_is_refused(tmp_path, monkeypatch, kind):
    column = pyarrow.array(["x" * 1000] * 100_000)
    column = column.dictionary_encode() if kind == "dictionary" else column
    pq.write_table(pyarrow.table({"n": column}), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 20_000
    found = Originals([tmp_path]).need("a.parquet")
    monkeypatch.setattr(parquet, "MAX_TABLE", 1_000_000)
    fails("a.parquet has rows of more than 1 MB", parquet_rows, [found], ["n"])


def test_rows_without_number_are_refused(table, monkeypatch):
    monkeypatch.setattr(parquet, "MAX_ROWS", 10)
    found = table([{"n": n, "image": b""} for n in range(11)])
    fails("claims 11 rows", parquet_rows, [found], ["n"])
    fails("claims 11 rows", ParquetCells.of, [found], "image")


def test_column_that_unpacks_to_far_more_is_refused(tmp_path):
    zeros = pyarrow.array([bytes(200 << 20)], pyarrow.large_binary())
    pq.write_table(
        pyarrow.table({"image": zeros}),
        tmp_path / "a.parquet",
        compression="zstd",
        use_dictionary=False,
        write_statistics=False,
    )
    assert (tmp_path / "a.parquet").stat().st_size < 1 << 20
    found = Originals([tmp_path]).need("a.parquet")
    code = f"""
from pathlib import Path
from data_prep.originals.search import Originals
from data_prep.originals.parquet import ParquetCells
from tests.data_prep.handmade import peak_kb
found = Originals([Path({str(tmp_path)!r})]).need("a.parquet")
before = peak_kb()
try:
    ParquetCells.of([found], "image")
except ValueError as error:
    print(peak_kb() - before, error)
"""
    made = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    grown, _, told = made.stdout.partition(" ")
    assert "zip bomb" in told and found.where in told
    assert int(grown) < 50_000  # kB


# TSV


def tsv(rows):
    return "".join("\t".join(row) + "\n" for row in rows)


def test_rows_of_a_tsv_are_kept_without_their_pictures(entry):
    limit = csv.field_size_limit()
    picture = base64.b64encode(bytes(200_000)).decode()
    rows = [["index", "question", "image"], ["0", 'a "b"', picture], ["1", "é", "eA=="]]
    found = entry(tsv(rows), "a.tsv")
    told = [row for row, _ in pictured_tsv(found)]
    assert [row.values for row in told] == [
        {"index": "0", "question": 'a "b"'},
        {"index": "1", "question": "é"},
    ]
    assert told[1].where == f"{found.where} row 1"
    read = dict(TsvCells(found, "image").read([1, 0]))
    assert read == {0: bytes(200_000), 1: b"x"}
    csv.field_size_limit(limit)


@pytest.mark.parametrize("torn", ["1", "1\ta\tb\tc"])
def test_row_of_a_tsv_with_other_fields_is_named(entry, torn):
    found = entry(f"index\tquestion\timage\n0\tq\teA==\n{torn}", "a.tsv")
    told = "a.tsv row 1 has another number of fields than the header"
    fails(told, pictured_tsv, found)
    fails(told, lambda: list(TsvCells(found, "image").read([1])))


def test_tsv_that_is_no_utf_8_is_named(entry):
    found = entry(b"index\timage\n0\t\xe9\n", "a.tsv")
    fails("a.tsv is not UTF-8 text", pictured_tsv, found)


def test_tsv_with_another_line_end_in_a_field_is_named(entry):
    found = entry(b"index\timage\n0\ta\rb\n", "a.tsv")
    fails("a.tsv (is no whole TSV file|row 1 has another)", pictured_tsv, found)


def test_picture_of_a_tsv_that_is_not_base64_is_named(entry):
    found = entry("index\timage\n0\t<html>\n", "a.tsv")
    cells = TsvCells(found, "image")
    fails("a.tsv row 0 field image: not base64", lambda: list(cells.read([0])))
    cells = TsvCells(found, "picture")
    fails("a.tsv row 0 has no field picture", lambda: list(cells.read([0])))


def test_tsv_in_a_zip_is_read_too(tmp_path):
    text = "index\timage\n0\teA==\n"
    zipped(tmp_path / "a.zip", [("a.tsv", text)])
    found = Originals([tmp_path]).need("a.tsv")
    [(row, cell)] = pictured_tsv(found)
    assert row.values == {"index": "0"} and cell.bytes() == b"x"
