import errno
import hashlib
import json
import os
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
from filelock import FileLock
from huggingface_hub import constants
from hypothesis import given
from hypothesis import strategies as st

from data_prep import fetch as fetching
from data_prep import transfer
from data_prep.fetch import Hub, Remote, fetch, plan

CONTENT = np.random.default_rng(0).bytes(300_000)
SUM = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves one content in the way that ``server.manner`` says."""

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        manner, span = self.server.manner, self.headers.get("Range")
        self.server.asked.append((self.command, span))
        status = manner.head_status if self.command == "HEAD" else manner.status
        start = int(span[6:-1]) if span and manner.ranges else 0
        content = manner.content
        if start and start >= len(content):
            status, content = 416, b""
        elif status >= 400:
            content = b""
        elif start:
            status = 206
        self.send_response(status)
        self.send_header("Content-Type", manner.kind)
        self.send_header("ETag", manner.tag)
        if status == 206:
            whole = len(content)
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        told = content[start:]
        if body and manner.shorten:
            told = told[: manner.shorten]
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        if body and status < 400:
            self.send_some(told)

    def send_some(self, told):
        manner = self.server.manner
        if manner.cut is None:
            self.wfile.write(told)
        else:
            self.wfile.write(told[: manner.cut])
            manner.cut = manner.next_cut

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    # What is torn is kept but for the last block, which is 10 MB else.
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    huggingface_hub.close_session()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = []
    server.manner = SimpleNamespace(
        content=CONTENT,
        ranges=True,
        status=200,
        head_status=200,
        kind="application/zip",
        tag='"one"',
        shorten=0,
        cut=None,
        next_cut=None,
    )
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    huggingface_hub.close_session()
    server.shutdown()
    server.server_close()
    thread.join()


def remote(server, **options):
    return Remote(f"{server.url}/data/a.zip", **options)


def get(server, folder, **options):
    return fetch([remote(server, **options)], folder, progress=False)


def one_line(raised):
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_file_is_fetched_whole_and_its_sum_is_told(server, tmp_path):
    kept = get(server, tmp_path / "new" / "folder", sha256=SUM.upper())
    assert kept == {"a.zip": f"{server.url}/data/a.zip sha256:{SUM}"}
    assert (tmp_path / "new/folder/a.zip").read_bytes() == CONTENT
    assert not list(tmp_path.rglob("*.part"))


def test_file_that_is_here_is_neither_fetched_nor_hashed_again(
    server, tmp_path, monkeypatch
):
    first = get(server, tmp_path)
    server.asked.clear()
    monkeypatch.setattr(transfer, "check_sum", None)
    assert get(server, tmp_path) == first
    assert server.asked == []


def test_torn_download_goes_on_where_it_broke_off(server, tmp_path):
    server.manner.cut, server.manner.next_cut = 100_000, 0
    with pytest.raises(
        RuntimeError, match=r"a\.zip: .* broke off, 0\.1 MB are here"
    ) as e:
        get(server, tmp_path)
    assert "run again" in one_line(e)
    assert not (tmp_path / "a.zip").exists()
    assert plan([remote(server)], tmp_path)[0].state == "part: 0.1 MB"
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
    assert plan([remote(server)], tmp_path)[0].state == "to fetch"


def test_file_put_by_hand_is_taken_and_said_to_be(server, tmp_path):
    (tmp_path / "a.zip").write_bytes(CONTENT)
    assert get(server, tmp_path) == {"a.zip": f"put by hand sha256:{SUM}"}
    assert server.asked == []


def test_file_put_by_hand_is_checked_too(server, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"other")
    with pytest.raises(RuntimeError, match="set aside"):
        get(server, tmp_path, sha256=SUM)
    assert get(server, tmp_path, sha256=SUM)["a.zip"].endswith(SUM)


def test_file_that_was_changed_since_is_hashed_anew(server, tmp_path):
    get(server, tmp_path)
    (tmp_path / "a.zip").write_bytes(b"other")
    found = hashlib.sha256(b"other").hexdigest()
    assert get(server, tmp_path) == {"a.zip": f"put by hand sha256:{found}"}


@pytest.mark.parametrize("torn", ["", '{"a.zip": {"sha', "[]", "\xff"])
def test_torn_notes_only_cost_a_hash(server, tmp_path, torn):
    get(server, tmp_path, sha256=SUM)
    (tmp_path / transfer.NOTES).write_text(torn, encoding="latin-1")
    assert get(server, tmp_path, sha256=SUM)["a.zip"].endswith(f"a.zip sha256:{SUM}")


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


def test_without_a_network_the_missing_files_are_named(server, tmp_path):
    (tmp_path / "b.zip").write_bytes(b"here")
    server.socket.close()
    files = [Remote(f"{server.url}/{name}.zip") for name in "abc"]
    with pytest.raises(RuntimeError, match=re.escape(server.url[7:])) as e:
        fetch(files, tmp_path, progress=False)
    assert f"put a.zip, c.zip into {tmp_path} by hand" in one_line(e)


def test_offline_mode_says_the_same(server, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        RuntimeError, match="HF_HUB_OFFLINE is set.*put a.zip into"
    ) as e:
        get(server, tmp_path)
    one_line(e)


def test_full_disk_says_how_much_is_needed_and_keeps_the_part(
    server, tmp_path, monkeypatch
):
    def write(self, block):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(transfer._Part, "write", write, raising=False)
        with pytest.raises(RuntimeError, match=r"disk is full .*0\.0003 GB still") as e:
            get(server, tmp_path)
    assert f"free in {tmp_path}" in one_line(e)
    assert not (tmp_path / "a.zip").exists()
    get(server, tmp_path, sha256=SUM)


@pytest.mark.parametrize("gigabytes", [None, 50.0])
def test_too_little_room_is_refused_before_anything_is_fetched(
    server, tmp_path, monkeypatch, gigabytes
):
    usage = SimpleNamespace(free=100_000)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda folder: usage)
    needed = "50 GB" if gigabytes else "0.0003 GB"
    with pytest.raises(RuntimeError, match=f"{needed} still needed, 0.0001 GB free"):
        get(server, tmp_path, gigabytes=gigabytes)
    assert "GET" not in [command for command, _ in server.asked]


def test_two_cannot_fetch_into_one_folder_at_once(server, tmp_path):
    with FileLock(tmp_path / ".fetch.lock"):
        with pytest.raises(RuntimeError, match="another process is fetching"):
            get(server, tmp_path)


@pytest.mark.parametrize(
    "to", ["../x", "/x", "a/../../x", "a//x", "C:x", "a\\x", "downloads.json", "x.part"]
)
def test_name_that_leaves_the_folder_is_refused(to):
    with pytest.raises(ValueError, match="not a path inside"):
        Remote("http://127.0.0.1/a.zip", to=to)


@pytest.mark.parametrize("end", ["", "..", "%2e%2e%2fx", "a%2f..%2f..%2fx", "%2Fx"])
def test_address_whose_last_part_leaves_the_folder_is_refused(end):
    with pytest.raises(ValueError, match="not a path inside"):
        Remote(f"http://127.0.0.1/data/{end}")


@given(st.text(min_size=1))
def test_accepted_names_stay_inside(name):
    try:
        kept = Remote("http://127.0.0.1/a", to=name).name
    except ValueError:
        return
    path = os.path.normpath(os.path.join("/folder", kept))
    assert path.startswith("/folder/") and path != "/folder/"


def test_folder_that_is_a_link_elsewhere_is_refused(server, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "sub").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="by a link"):
        get(server, tmp_path / "in", to="sub/a.zip")


def test_name_leaves_out_query_and_blanks():
    assert Remote("http://127.0.0.1/data/a%20b.zip?x=/y.z#q").name == "a b.zip"


def test_two_files_of_one_name_are_refused(server, tmp_path):
    with pytest.raises(ValueError, match="'a.zip' is asked for twice"):
        fetch([remote(server), remote(server)], tmp_path)


@pytest.mark.parametrize("progress", [False, True])
def test_bars_are_shown_only_if_asked_for(
    server, tmp_path, capfd, monkeypatch, progress
):
    monkeypatch.setenv("TQDM_POSITION", "-1")  # bars where there is no terminal, too
    fetch([remote(server)], tmp_path, progress=progress)
    assert ("a.zip: 100%" in capfd.readouterr().err) == progress


def test_nothing_is_printed_without_progress(server, tmp_path, capfd):
    get(server, tmp_path, sha256=SUM)
    assert capfd.readouterr() == ("", "")


HUB = Hub("owner/data", ("data/val-*.parquet",), gigabytes=0.5)
SHARDS = {"data/val-0.parquet": b"first", "data/val-1.parquet": b"second"}


@pytest.fixture
def hub(monkeypatch):
    """A hub that has two shards and a file that is not wanted; ``calls`` counts."""
    fake = SimpleNamespace(calls=[], error=None, sent=dict(SHARDS))

    def repo_info(self, repo, *, repo_type, revision, files_metadata):
        assert (repo, repo_type, files_metadata) == ("owner/data", "dataset", True)
        if fake.error:
            raise fake.error
        files = SHARDS | {"data/test-0.parquet": b"not this"}
        names = [SimpleNamespace(rfilename=n, size=len(b)) for n, b in files.items()]
        return SimpleNamespace(sha="c0ffee", siblings=names)

    def snapshot_download(repo, *, local_dir, **options):
        fake.calls.append(options)
        (local_dir / "data").mkdir(exist_ok=True)
        for name, content in fake.sent.items():
            (local_dir / name).write_bytes(content)

    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", repo_info)
    monkeypatch.setattr(fetching, "snapshot_download", snapshot_download)
    return fake


def test_hub_files_come_at_the_commit_that_is_told(hub, tmp_path):
    assert fetch([HUB], tmp_path, progress=False) == {"owner/data": "c0ffee"}
    assert hub.calls[0]["revision"] == "c0ffee"
    assert hub.calls[0]["allow_patterns"] == ["data/val-*.parquet"]
    assert plan([HUB], tmp_path)[0].state == "here"


def test_hub_is_not_asked_again(hub, tmp_path):
    first = fetch([HUB], tmp_path)
    hub.error = huggingface_hub.errors.OfflineModeIsEnabled("offline")
    assert fetch([HUB], tmp_path) == first
    assert len(hub.calls) == 1


def test_hub_file_that_was_lost_is_fetched_again(hub, tmp_path):
    fetch([HUB], tmp_path)
    (tmp_path / "data/val-1.parquet").unlink()
    assert plan([HUB], tmp_path)[0].state == "part: 5e-06 MB"
    fetch([HUB], tmp_path)
    assert len(hub.calls) == 2


def test_hub_file_that_is_short_is_not_taken_as_whole(hub, tmp_path):
    hub.sent["data/val-1.parquet"] = b"sec"
    with pytest.raises(RuntimeError, match="val-1.parquet has 3 bytes, 6 expected"):
        fetch([HUB], tmp_path)
    assert plan([HUB], tmp_path)[0].state != "here"


def test_hub_without_a_network_names_the_files(hub, tmp_path):
    hub.error = huggingface_hub.errors.OfflineModeIsEnabled("offline\nmode")
    with pytest.raises(RuntimeError, match=r"put data/val-\*\.parquet into") as e:
        fetch([HUB], tmp_path)
    assert "huggingface.co" in one_line(e)


def test_hub_files_put_by_hand_are_taken_without_a_network(hub, tmp_path):
    hub.error = huggingface_hub.errors.OfflineModeIsEnabled("offline")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/val-0.parquet").write_bytes(b"x")
    assert fetch([HUB], tmp_path) == {"owner/data": "put by hand"}


def test_hub_without_such_files_is_an_error(hub, tmp_path):
    with pytest.raises(RuntimeError, match=r"no file like train-\* at c0ffee"):
        fetch([Hub("owner/data", ("train-*",))], tmp_path)


def test_hub_file_that_would_leave_the_folder_is_refused(hub, tmp_path, monkeypatch):
    monkeypatch.setitem(SHARDS, "data/val-/../../../x.parquet", b"")
    with pytest.raises(ValueError, match="not a path inside"):
        fetch([HUB], tmp_path)
    assert hub.calls == []


def test_plan_asks_no_network_and_writes_nothing(tmp_path):
    files = [Remote("http://127.0.0.1:9/a.zip", gigabytes=2.0), HUB]
    rows = plan(files, tmp_path / "none")
    assert [row.state for row in rows] == ["to fetch", "to fetch"]
    assert rows[0][:3] == ("a.zip", "http://127.0.0.1:9/a.zip", 2.0)
    assert not (tmp_path / "none").exists()


def test_notes_are_plain_json(server, tmp_path):
    get(server, tmp_path)
    note = json.loads((tmp_path / transfer.NOTES).read_text())["a.zip"]
    assert note["sha256"] == SUM and note["size"] == len(CONTENT)
