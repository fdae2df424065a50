import hashlib
import re
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from file_server import one_line, serving
from filelock import FileLock
from huggingface_hub.utils import enable_progress_bars

from data_prep.dataset import DataSet, Hub, Item, Layout, Remote
from data_prep.download import fetch, url
from data_prep.download.fetch import fetch_files, plan_files
from data_prep.originals.rows import json_rows
from data_prep.originals.search import Originals
from data_prep.unified.build import build
from tests.data_prep.handmade import tree
from tests.fixtures.makers.draw import picture, write, write_json

CONTENT = np.random.default_rng(0).bytes(300_000)
SUM = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    with serving(CONTENT, monkeypatch) as running:
        yield running


def remote(server, **options):
    return Remote("mine", f"{server.url}/data/a.zip", **options)


def test_files_are_told_by_name(server, tmp_path):
    other = Remote("mine", f"{server.url}/data/in%2Fb")
    kept = fetch_files([remote(server, sha256=SUM), other], tmp_path)
    told = f"sha256:{SUM}"
    assert kept == {
        "a.zip": f"{server.url}/data/a.zip {told}",
        "in/b": f"{other.url} {told}",
    }
    assert (tmp_path / "in" / "b").read_bytes() == CONTENT


def test_plan_tells_part_and_whole(server, tmp_path):
    server.manner.cut, server.manner.next_cut = 100_000, 0
    with pytest.raises(RuntimeError, match="broke off"):
        fetch_files([remote(server)], tmp_path)
    assert plan_files([remote(server)], tmp_path)[0].state == "part: 100 kB"
    server.manner.cut = None
    fetch_files([remote(server)], tmp_path)
    assert plan_files([remote(server)], tmp_path)[0].state == "here"


def test_file_with_another_sum_is_still_to_be_fetched(server, tmp_path):
    wrong = remote(server, sha256="0" * 64)
    with pytest.raises(RuntimeError, match="set aside"):
        fetch_files([wrong], tmp_path)
    assert plan_files([wrong], tmp_path)[0].state == "to fetch"


def test_without_a_network_the_missing_files_are_named(server, tmp_path):
    (tmp_path / "b.zip").write_bytes(b"here")
    server.socket.close()
    files = [Remote("mine", f"{server.url}/{name}.zip") for name in "abc"]
    with pytest.raises(RuntimeError, match=re.escape(server.url[7:])) as e:
        fetch_files(files, tmp_path)
    assert f"put a.zip, c.zip into {tmp_path} by hand" in one_line(e)


@pytest.mark.parametrize("gigabytes", [None, 50.0])
def test_too_little_room_is_refused_before_anything_is_fetched(
    server, tmp_path, monkeypatch, gigabytes
):
    usage = SimpleNamespace(free=100_000)
    monkeypatch.setattr(url.shutil, "disk_usage", lambda folder: usage)
    needed = "50 GB" if gigabytes else "300 kB"
    with pytest.raises(RuntimeError, match=f"{needed} needed, 100 kB free"):
        fetch_files([remote(server, gigabytes=gigabytes)], tmp_path)
    assert "GET" not in [command for command, _ in server.asked]


def test_two_cannot_fetch_into_one_folder_at_once(server, tmp_path):
    with FileLock(tmp_path / ".fetch.lock"):
        with pytest.raises(RuntimeError, match="another process is fetching"):
            fetch_files([remote(server)], tmp_path)


@pytest.mark.parametrize("end", ["", "..", "%2e%2e%2fx", "a%2f..%2f..%2fx", "%2Fx"])
def test_address_whose_last_part_leaves_the_folder_is_refused(tmp_path, end):
    files = [Remote("mine", f"http://127.0.0.1:9/data/{end}")]
    for look in (plan_files, fetch_files):
        with pytest.raises(ValueError, match="not a path inside"):
            look(files, tmp_path)
    assert {file.name for file in tmp_path.iterdir()} <= {".fetch.lock"}


def test_name_leaves_out_query_and_blanks():
    assert Remote("mine", "http://127.0.0.1/data/a%20b.zip?x=/y.z#q").name == "a b.zip"


def test_bars_are_shown(server, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("TQDM_POSITION", "-1")  # bars where there is no terminal, too
    enable_progress_bars()  # a model that was loaded before has turned them off
    fetch_files([remote(server)], tmp_path)
    assert "a.zip: 100%" in capfd.readouterr().err


def test_nothing_is_printed_without_a_terminal(server, tmp_path, capfd):
    fetch_files([remote(server, sha256=SUM)], tmp_path)
    assert capfd.readouterr() == ("", "")


def test_plan_asks_no_network_and_writes_nothing(tmp_path):
    hub = Hub("mine", "owner/data", ("data/val-*.parquet",))
    files = [Remote("mine", "http://127.0.0.1:9/a.zip", gigabytes=2.0), hub]
    rows = plan_files(files, tmp_path / "none")
    assert [row.state for row in rows] == ["to fetch", "to fetch"]
    assert rows[0][:3] == ("a.zip", "http://127.0.0.1:9/a.zip", 2.0)
    assert not (tmp_path / "none").exists()


# A data set's files

SIZE = (40, 30)


def read(originals, seed):
    return [
        Item(row.where, str(n), "q?", ["a"], f"val/{n}.jpg", f"{n}.jpg")
        for n, row in enumerate(json_rows(originals.need("val.json")))
    ]


def data_set(**changes):
    plain = {
        "key": "mine",
        "title": "Mine",
        "questions": 3,
        "images": 3,
        "licence": "none",
        "layouts": (Layout("json", ("val.json",), read),),
    }
    return DataSet(**(plain | changes))


BY_HAND = data_set(by_hand="register at https://example.org and get val.json")


def test_data_set_that_cannot_be_fetched_says_which_files_to_put_where(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="mine cannot be fetched: register"
    ) as e:
        fetch.fetch(BY_HAND, tmp_path)
    assert f"put the files into {tmp_path}/mine and run again" in one_line(e)
    assert "--source" in str(e.value)


def test_files_that_were_put_there_by_hand_are_found(tmp_path):
    write(tmp_path / "mine" / "other.json", b"[]")
    with pytest.raises(FileNotFoundError, match="put the files into"):
        fetch.fetch(BY_HAND, tmp_path)
    write(tmp_path / "mine" / "in" / "val.json", b"[1]")
    assert fetch.fetch(BY_HAND, tmp_path) == ([tmp_path / "mine"], {})


def test_mirror_that_there_is_not_is_named(tmp_path):
    with pytest.raises(ValueError, match="mine has no mirror; leave --mirror out"):
        fetch.plan(data_set(), tmp_path, mirror=True)


def test_nothing_is_fetched_that_was_not_agreed_to(tmp_path):
    files = (Remote("mine", "http://127.0.0.1:9/val.json", 0.5),)
    seen = []

    def refuse(rows):
        seen.extend(rows)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="^no$"):
        fetch.fetch(data_set(files=files), tmp_path / "o", agree=refuse)
    assert [(row.name, row.gigabytes, row.state) for row in seen] == [
        ("val.json", 0.5, "to fetch")
    ]
    assert not (tmp_path / "o").exists()


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A data set whose pictures lie in a zip at a server, and its annotations here."""
    packed = tmp_path / "val.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(5):
            archive.writestr(f"val/{number}.jpg", picture(number, SIZE))
    with serving(packed.read_bytes(), monkeypatch) as server:
        root = tmp_path / "originals"
        write_json(root / "mine" / "val.json", [0, 1, 2])
        url = f"{server.url}/val.zip"
        mine = data_set(
            files=(Remote("mine", f"{server.url}/val.json", 0.1),),
            pictures=Remote("shared", url, 0.2),
        )
        yield mine, root, server


def states(mine, root, **options):
    return [row.state for row in fetch.plan(mine, root, **options)]


def test_only_pictures_that_are_asked_about_are_fetched(served, tmp_path):
    mine, root, server = served
    assert states(mine, root) == ["here", "to fetch: 3"]
    found = fetch.fetch(mine, root)
    assert found.folders == [root / "mine", root / "shared"]
    assert found.origin["shared"] == f"{server.url}/val.zip"
    shown = {name for name in tree(root / "shared") if name.endswith(".jpg")}
    assert shown == {f"val/{number}.jpg" for number in range(3)}
    made = build(mine, Originals(found.folders), tmp_path / "data")
    assert made.note["counts"]["images"] == 3


def test_all_is_here_the_second_time(served):
    mine, root, server = served
    fetch.fetch(mine, root)
    server.asked.clear()
    assert states(mine, root) == ["here", "here"]
    fetch.fetch(mine, root)
    assert server.asked == []


def test_pictures_of_a_subset_are_those_of_its_questions(served):
    mine, root, _ = served
    fetch.fetch(mine, root, limit=1, seed=4)
    assert len(list((root / "shared" / "val").iterdir())) == 1
    assert states(mine, root, limit=1, seed=4) == ["here", "here"]
    assert states(mine, root) == ["here", "to fetch: 2"]


def test_pictures_of_an_archive_that_another_data_set_has_fetched_are_here(
    served, tmp_path
):
    mine, root, server = served
    write(root / "shared" / "val.zip", (tmp_path / "val.zip").read_bytes())
    assert states(mine, root) == ["here", "here"]
    found = fetch.fetch(mine, root)
    assert server.asked == [] and found.folders == [root / "mine", root / "shared"]
    made = build(mine, Originals(found.folders), tmp_path / "data")
    assert made.note["counts"]["images"] == 3


def test_how_many_pictures_are_missing_is_not_known_before_the_questions_are(served):
    mine, root, _ = served
    (root / "mine" / "val.json").unlink()
    assert states(mine, root) == ["to fetch", "to fetch"]
