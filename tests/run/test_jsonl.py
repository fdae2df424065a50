import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vicrop.run import jsonl

VALUES = st.dictionaries(st.text(), st.text() | st.integers() | st.none(), min_size=1)


@given(VALUES)
def test_sealed_line_is_json_and_comes_back(value):
    text = json.dumps(value, ensure_ascii=False)
    line = jsonl.seal(text)
    assert line.endswith("}\n") and jsonl.unseal(line) == text
    assert json.loads(line) == {**value, "crc": json.loads(line)["crc"]}


def test_no_flipped_bit_goes_unnoticed():
    """Every single bit of a line: an error, or no JSON any more, or the same text."""
    text = '{"id": "a", "answer": "7"}'
    sealed = jsonl.seal(text).encode()
    for place in range(8 * (len(sealed) - 1)):
        flipped = bytearray(sealed)
        flipped[place // 8] ^= 1 << place % 8
        try:
            found = jsonl.unseal(flipped.decode(errors="replace"))
            value = json.loads(found)
        except ValueError:
            continue
        # The checksum is no checksum any more: then its key is one too many.
        assert value.keys() - {"id", "answer"}, flipped


def test_line_without_a_checksum_is_taken_as_it_is():
    assert jsonl.unseal('{"id": "a"}\n') == '{"id": "a"}'


def test_split_numbers_lines_and_knows_no_file(tmp_path):
    file = tmp_path / "x"
    assert list(jsonl.split(file)) == []
    file.write_bytes(b"a\n\xff\n")
    assert list(jsonl.split(file)) == [(1, "a\n"), (2, "\ufffd\n")]


@pytest.mark.parametrize(
    ("text", "kept", "cut"),
    [(b"a\nb\n", b"a\nb\n", 0), (b"a\nb", b"a\n", 1), (b"abc", b"", 3), (b"", b"", 0)],
)
def test_torn_line_is_cut(tmp_path, text, kept, cut):
    file = tmp_path / "x"
    assert jsonl.cut_torn(file) == 0
    file.write_bytes(text)
    assert jsonl.cut_torn(file) == cut
    assert file.read_bytes() == kept


def test_replacing_leaves_the_old_file_if_the_new_lines_fail(tmp_path):
    file = tmp_path / "x"
    file.write_text("old")

    def failing():
        yield "new\n"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        jsonl.replace(file, failing())
    assert file.read_text() == "old"
    jsonl.replace(file, ["a\n", "b\n"])
    assert file.read_text() == "a\nb\n"


@pytest.fixture
def synced(monkeypatch):
    """Counts syncs, and sets the clock that they go by."""
    calls, now = [], [0.0]
    monkeypatch.setattr(jsonl.os, "fsync", calls.append)
    monkeypatch.setattr(jsonl.time, "monotonic", lambda: now[0])
    return calls, now


def test_disk_is_synced_by_time(tmp_path, synced):
    calls, now = synced
    out = jsonl.Appender(tmp_path / "x", seconds=5)
    for now[0], count in ((1, 0), (4.9, 0), (5, 1), (9, 1), (10, 2)):
        out.append("x\n")
        assert len(calls) == count
    out.close()
    assert len(calls) == 3
    out.close()  # twice is fine
    assert (tmp_path / "x").read_text() == "x\n" * 5


def test_line_is_there_for_others_at_once(tmp_path):
    out = jsonl.Appender(tmp_path / "x")
    out.append("ü\n")
    assert (tmp_path / "x").read_text() == "ü\n"
    out.close()


def test_line_that_does_not_fit_leaves_nothing_of_itself(tmp_path, monkeypatch):
    """The disk takes four bytes, then no more."""
    file = tmp_path / "x"
    out = jsonl.Appender(file)
    out.append("whole\n")
    own, takes = out._opened, [4]

    class Full:
        def __getattr__(self, name):
            return getattr(own, name)

        def write(self, data):
            if not takes:
                raise OSError(28, "No space left on device")
            return own.write(data[: takes.pop()])

    out._opened = Full()
    with pytest.raises(OSError, match="No space left"):
        out.append("too long\n")
    assert file.read_text() == "whole\n"
    out._opened = own
    out.append("more\n")
    assert file.read_text() == "whole\nmore\n"
    out.close()
