import hashlib
import os
import re
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
from file_server import one_line, serving
from filelock import FileLock
from huggingface_hub.utils import enable_progress_bars
from hypothesis import given
from hypothesis import strategies as st

from data_prep import fetch as fetching
from data_prep import transfer
from data_prep.fetch import Hub, Remote, fetch, plan

CONTENT = np.random.default_rng(0).bytes(300_000)
SUM = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    with serving(CONTENT, monkeypatch) as running:
        yield running


def remote(server, **options):
    return Remote(f"{server.url}/data/a.zip", **options)


def test_files_are_told_by_name(server, tmp_path):
    kept = fetch([remote(server, sha256=SUM), remote(server, to="in/b")], tmp_path)
    told = f"{server.url}/data/a.zip sha256:{SUM}"
    assert kept == {"a.zip": told, "in/b": told}
    assert (tmp_path / "in" / "b").read_bytes() == CONTENT


def test_plan_tells_part_and_whole(server, tmp_path):
    server.manner.cut, server.manner.next_cut = 100_000, 0
    with pytest.raises(RuntimeError, match="broke off"):
        fetch([remote(server)], tmp_path)
    assert plan([remote(server)], tmp_path)[0].state == "part: 100 kB"
    server.manner.cut = None
    fetch([remote(server)], tmp_path)
    assert plan([remote(server)], tmp_path)[0].state == "here"


def test_file_with_another_sum_is_still_to_be_fetched(server, tmp_path):
    wrong = remote(server, sha256="0" * 64)
    with pytest.raises(RuntimeError, match="set aside"):
        fetch([wrong], tmp_path)
    assert plan([wrong], tmp_path)[0].state == "to fetch"


def test_without_a_network_the_missing_files_are_named(server, tmp_path):
    (tmp_path / "b.zip").write_bytes(b"here")
    server.socket.close()
    files = [Remote(f"{server.url}/{name}.zip") for name in "abc"]
    with pytest.raises(RuntimeError, match=re.escape(server.url[7:])) as e:
        fetch(files, tmp_path, progress=False)
    assert f"put a.zip, c.zip into {tmp_path} by hand" in one_line(e)


@pytest.mark.parametrize("gigabytes", [None, 50.0])
def test_too_little_room_is_refused_before_anything_is_fetched(
    server, tmp_path, monkeypatch, gigabytes
):
    usage = SimpleNamespace(free=100_000)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda folder: usage)
    needed = "50 GB" if gigabytes else "300 kB"
    with pytest.raises(RuntimeError, match=f"{needed} needed, 100 kB free"):
        fetch([remote(server, gigabytes=gigabytes)], tmp_path)
    assert "GET" not in [command for command, _ in server.asked]


def test_two_cannot_fetch_into_one_folder_at_once(server, tmp_path):
    with FileLock(tmp_path / ".fetch.lock"):
        with pytest.raises(RuntimeError, match="another process is fetching"):
            fetch([remote(server)], tmp_path)


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
    enable_progress_bars()  # a model that was loaded before has turned them off
    fetch([remote(server)], tmp_path, progress=progress)
    assert ("a.zip: 100%" in capfd.readouterr().err) == progress


def test_nothing_is_printed_without_progress(server, tmp_path, capfd):
    fetch([remote(server, sha256=SUM)], tmp_path, progress=False)
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
    assert plan([HUB], tmp_path)[0].state == "part: 5 B"
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


def test_what_the_library_keeps_for_itself_is_no_file_of_the_hub(hub, tmp_path):
    every = Hub("owner/data", ("*",))
    (tmp_path / ".cache/huggingface").mkdir(parents=True)
    (tmp_path / ".cache/huggingface/data.metadata").write_text("x")
    assert plan([every], tmp_path)[0].state == "to fetch"


def test_hub_files_that_do_not_fit_are_not_begun(hub, tmp_path, monkeypatch):
    usage = SimpleNamespace(free=10)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(RuntimeError, match="owner/data: 11 B needed, 10 B free"):
        fetch([Hub("owner/data", ("data/val-*",))], tmp_path)
    assert hub.calls == []


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
