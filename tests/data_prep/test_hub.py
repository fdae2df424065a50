from types import SimpleNamespace

import huggingface_hub
import pytest
from file_server import one_line

from data_prep.dataset import Hub
from data_prep.download import hub as module
from data_prep.download import url
from data_prep.download.fetch import fetch_files, plan_files

HUB = Hub("mine", "owner/data", ("data/val-*.parquet",), gigabytes=0.5)
SHARDS = {"data/val-0.parquet": b"first", "data/val-1.parquet": b"second"}


@pytest.fixture
def hub(monkeypatch):
    """A hub that has two shards and a file that is not wanted; ``calls`` counts."""
    fake = SimpleNamespace(calls=[], error=None, sent=dict(SHARDS))

    def repo_info(self, repo, *, repo_type, files_metadata):
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
    monkeypatch.setattr(module, "snapshot_download", snapshot_download)
    return fake


def test_hub_files_come_at_the_commit_that_is_told(hub, tmp_path):
    assert fetch_files([HUB], tmp_path) == {"owner/data": "c0ffee"}
    assert hub.calls[0]["revision"] == "c0ffee"
    assert hub.calls[0]["allow_patterns"] == ["data/val-*.parquet"]
    assert plan_files([HUB], tmp_path)[0].state == "here"


def test_hub_is_not_asked_again(hub, tmp_path):
    first = fetch_files([HUB], tmp_path)
    hub.error = huggingface_hub.errors.OfflineModeIsEnabled("offline")
    assert fetch_files([HUB], tmp_path) == first
    assert len(hub.calls) == 1


def test_hub_file_that_was_lost_is_fetched_again(hub, tmp_path):
    fetch_files([HUB], tmp_path)
    (tmp_path / "data/val-1.parquet").unlink()
    assert plan_files([HUB], tmp_path)[0].state == "part: 5 B"
    fetch_files([HUB], tmp_path)
    assert len(hub.calls) == 2


def test_hub_file_that_is_short_is_not_taken_as_whole(hub, tmp_path):
    hub.sent["data/val-1.parquet"] = b"sec"
    with pytest.raises(RuntimeError, match="val-1.parquet has 3 bytes, 6 expected"):
        fetch_files([HUB], tmp_path)
    assert plan_files([HUB], tmp_path)[0].state != "here"


def test_hub_without_a_network_names_the_files(hub, tmp_path):
    hub.error = huggingface_hub.errors.OfflineModeIsEnabled("offline\nmode")
    with pytest.raises(RuntimeError, match=r"put data/val-\*\.parquet into") as e:
        fetch_files([HUB], tmp_path)
    assert "huggingface.co" in one_line(e)


def test_hub_files_put_by_hand_are_taken_without_a_network(hub, tmp_path):
    hub.error = huggingface_hub.errors.OfflineModeIsEnabled("offline")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/val-0.parquet").write_bytes(b"x")
    assert fetch_files([HUB], tmp_path) == {"owner/data": "put by hand"}


def test_what_the_library_keeps_for_itself_is_no_file_of_the_hub(hub, tmp_path):
    every = Hub("mine", "owner/data", ("*",))
    (tmp_path / ".cache/huggingface").mkdir(parents=True)
    (tmp_path / ".cache/huggingface/data.metadata").write_text("x")
    assert plan_files([every], tmp_path)[0].state == "to fetch"


def test_hub_files_that_do_not_fit_are_not_begun(hub, tmp_path, monkeypatch):
    usage = SimpleNamespace(free=10)
    monkeypatch.setattr(url.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(RuntimeError, match="owner/data: 11 B needed, 10 B free"):
        fetch_files([Hub("mine", "owner/data", ("data/val-*",))], tmp_path)
    assert hub.calls == []


def test_hub_without_such_files_is_an_error(hub, tmp_path):
    with pytest.raises(RuntimeError, match=r"no file like train-\* at c0ffee"):
        fetch_files([Hub("mine", "owner/data", ("train-*",))], tmp_path)


def test_hub_file_that_would_leave_the_folder_is_refused(hub, tmp_path, monkeypatch):
    monkeypatch.setitem(SHARDS, "data/val-/../../../x.parquet", b"")
    with pytest.raises(ValueError, match="not a path inside"):
        fetch_files([HUB], tmp_path)
    assert hub.calls == []
