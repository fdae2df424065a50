import errno
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from file_server import one_line, serving
from huggingface_hub import constants
from hypothesis import given
from hypothesis import strategies as st

from data_prep.download import url
from data_prep.download.url import Goal

CONTENT = np.random.default_rng(0).bytes(300_000)
SUM = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    with serving(CONTENT, monkeypatch) as running:
        yield running


def get(server, folder, sha256=None, name="a.zip"):
    goal = Goal(name, f"{server.url}/data/a.zip", folder, sha256)
    return url.download(goal)


def test_file_is_fetched_whole_and_its_sum_is_told(server, tmp_path):
    kept = get(server, tmp_path / "new" / "folder", sha256=SUM.upper())
    assert kept == f"{server.url}/data/a.zip sha256:{SUM}"
    assert (tmp_path / "new/folder/a.zip").read_bytes() == CONTENT
    assert not list(tmp_path.rglob("*.part"))


def test_file_that_is_here_is_neither_fetched_nor_hashed_again(
    server, tmp_path, monkeypatch
):
    first = get(server, tmp_path)
    server.asked.clear()
    monkeypatch.setattr(url, "check_sum", None)
    assert get(server, tmp_path) == first
    assert server.asked == []


def test_torn_download_goes_on_where_it_broke_off(server, tmp_path):
    server.manner.cut, server.manner.next_cut = 100_000, 0
    with pytest.raises(
        RuntimeError, match=r"a\.zip: .* broke off, 100 kB are here"
    ) as e:
        get(server, tmp_path)
    assert "run again" in one_line(e)
    assert not (tmp_path / "a.zip").exists()
    assert (tmp_path / "a.zip.part").read_bytes() == CONTENT[:100_000]
    server.manner.cut = None
    server.asked.clear()
    get(server, tmp_path, sha256=SUM)
    assert server.asked == [("HEAD", None), ("GET", "bytes=100000-")]
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_one_call_gets_over_a_torn_connection(server, tmp_path):
    server.manner.cut = 100_000
    get(server, tmp_path, sha256=SUM)
    assert server.asked[-1] == ("GET", "bytes=100000-")


def test_server_without_ranges_sends_it_all_again(server, tmp_path):
    server.manner.ranges = False
    server.manner.cut, server.manner.next_cut = 100_000, 0
    with pytest.raises(RuntimeError, match="broke off"):
        get(server, tmp_path)
    server.manner.cut = None
    get(server, tmp_path)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_server_that_always_breaks_off_is_given_up(server, tmp_path):
    server.manner.ranges = False
    server.manner.cut = server.manner.next_cut = 100_000
    with pytest.raises(RuntimeError, match="again and again") as e:
        get(server, tmp_path)
    assert "cannot resume" in one_line(e)
    assert len(server.asked) < 10


def test_shortened_answer_is_not_taken_as_whole(server, tmp_path):
    server.manner.shorten = 200_000
    with pytest.raises(RuntimeError, match="should be of size 300000") as e:
        get(server, tmp_path)
    assert "run again" in one_line(e)
    assert not (tmp_path / "a.zip").exists()
    get(server, tmp_path, sha256=SUM)


def test_part_of_another_version_is_dropped(server, tmp_path):
    server.manner.cut, server.manner.next_cut = 100_000, 0
    with pytest.raises(RuntimeError, match="broke off"):
        get(server, tmp_path)
    changed = CONTENT[::-1]
    server.manner.content, server.manner.tag = changed, '"two"'
    server.manner.cut = None
    get(server, tmp_path)
    assert (tmp_path / "a.zip").read_bytes() == changed


def test_part_of_unknown_origin_is_dropped(server, tmp_path):
    (tmp_path / "a.zip.part").write_bytes(b"x" * 1000)
    get(server, tmp_path, sha256=SUM)


def test_part_that_is_too_long_is_dropped(server, tmp_path):
    server.manner.cut, server.manner.next_cut = 100_000, 0
    with pytest.raises(RuntimeError, match="broke off"):
        get(server, tmp_path)
    server.manner.cut = None
    (tmp_path / "a.zip.part").write_bytes(CONTENT + b"more")
    get(server, tmp_path, sha256=SUM)


def test_file_is_asked_for_as_it_is_not_packed(server, tmp_path):
    get(server, tmp_path)
    assert server.packed == {"identity"}


def test_part_that_is_a_link_is_not_written_through(server, tmp_path):
    get(server, tmp_path)
    other = tmp_path / "other"
    other.write_bytes(b"")
    (tmp_path / "a.zip").unlink()
    (tmp_path / "a.zip.part").symlink_to(other)
    get(server, tmp_path)
    assert other.read_bytes() == b""
    assert not (tmp_path / "a.zip").is_symlink()


def test_part_that_is_already_whole_is_not_asked_for(server, tmp_path):
    get(server, tmp_path)
    os.replace(tmp_path / "a.zip", tmp_path / "a.zip.part")
    server.asked.clear()
    get(server, tmp_path, sha256=SUM)
    assert server.asked == [("HEAD", None)]


def test_server_that_knows_no_head_is_asked_all_the_same(server, tmp_path):
    server.manner.head_status = 405
    get(server, tmp_path, sha256=SUM)


def test_part_that_the_server_has_no_rest_for_is_begun_anew(server, tmp_path):
    server.manner.head_status = 405
    get(server, tmp_path)
    os.replace(tmp_path / "a.zip", tmp_path / "a.zip.part")
    with pytest.raises(RuntimeError, match="416"):
        get(server, tmp_path)
    get(server, tmp_path, sha256=SUM)


def test_another_sum_is_an_error_and_the_file_is_set_aside(server, tmp_path):
    with pytest.raises(
        RuntimeError, match=f"a.zip: sha256 {'0' * 64} exp.* {SUM}"
    ) as e:
        get(server, tmp_path, sha256="0" * 64)
    assert "run again" in one_line(e)
    assert sorted(p.name for p in tmp_path.glob("a.*")) == ["a.zip.bad"]


def test_file_put_by_hand_is_taken_and_said_to_be(server, tmp_path):
    (tmp_path / "a.zip").write_bytes(CONTENT)
    assert get(server, tmp_path) == f"put by hand sha256:{SUM}"
    assert server.asked == []


def test_file_put_by_hand_is_checked_too(server, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"other")
    with pytest.raises(RuntimeError, match="set aside"):
        get(server, tmp_path, sha256=SUM)
    assert get(server, tmp_path, sha256=SUM).endswith(SUM)


def test_file_that_was_changed_since_is_hashed_anew(server, tmp_path):
    get(server, tmp_path)
    (tmp_path / "a.zip").write_bytes(b"other")
    found = hashlib.sha256(b"other").hexdigest()
    assert get(server, tmp_path) == f"put by hand sha256:{found}"


@pytest.mark.parametrize("torn", ["", '{"a.zip": {"sha', "[]", "\xff", '{"a.zip": 1}'])
def test_torn_notes_only_cost_a_hash(server, tmp_path, torn):
    get(server, tmp_path, sha256=SUM)
    (tmp_path / url.NOTES).write_text(torn, encoding="latin-1")
    assert get(server, tmp_path, sha256=SUM).endswith(f"a.zip sha256:{SUM}")


@pytest.mark.parametrize("status", [403, 404, 500])
def test_refusal_names_address_and_status(server, tmp_path, status):
    server.manner.status = server.manner.head_status = status
    with pytest.raises(RuntimeError, match=f"/data/a.zip answered {status}") as e:
        get(server, tmp_path)
    assert "by hand" in one_line(e)


def test_web_page_is_not_taken_as_the_file(server, tmp_path):
    server.manner.kind = "text/html; charset=utf-8"
    with pytest.raises(RuntimeError, match=r"is a web page, not a\.zip"):
        get(server, tmp_path)


def test_offline_mode_says_the_same(server, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        RuntimeError, match="no network: 127.0.0.1.*HF_HUB_OFFLINE is set"
    ) as e:
        get(server, tmp_path)
    one_line(e)


def test_full_disk_says_how_much_is_needed_and_keeps_the_part(
    server, tmp_path, monkeypatch
):
    def write(self, block):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(url._Part, "write", write, raising=False)
        with pytest.raises(
            RuntimeError, match=r"a.zip cannot be written \(No space .*300 kB needed"
        ) as e:
            get(server, tmp_path)
    assert f"free in {tmp_path}" in one_line(e)
    assert not (tmp_path / "a.zip").exists()
    get(server, tmp_path, sha256=SUM)


def test_folder_that_is_a_link_elsewhere_is_refused(server, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "sub").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="remove the link"):
        get(server, tmp_path / "in", name="sub/a.zip")


@pytest.mark.parametrize(
    "size, told",
    [
        (0, "0 B"),
        (999, "999 B"),
        (12e6, "12 MB"),
        (1.25e9, "1.2 GB"),
        (2e13, "20,000 GB"),
    ],
)
def test_sizes_are_readable(size, told):
    assert url.readable(size) == told


def test_notes_are_plain_json(server, tmp_path):
    get(server, tmp_path)
    note = json.loads((tmp_path / url.NOTES).read_text())["a.zip"]
    assert note["sha256"] == SUM and note["size"] == len(CONTENT)


@pytest.mark.parametrize(
    "name",
    ["../x", "/x", "a/../../x", "a//x", "C:x", "a\\x", "downloads.json", "x.part"],
)
def test_name_that_leaves_the_folder_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="not a path inside"):
        Goal(name, "http://127.0.0.1/a.zip", tmp_path)


@given(st.text(min_size=1))
def test_accepted_names_stay_inside(name):
    try:
        kept = Goal(name, "http://127.0.0.1/a", Path("/folder")).path
    except ValueError:
        return
    path = os.path.normpath(kept)
    assert path.startswith("/folder/") and path != "/folder/"
