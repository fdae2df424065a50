import io
import struct
import zipfile

import numpy as np
import pytest
from file_server import one_line, serving
from huggingface_hub import constants

from data_prep.download import url, zip_members

PICTURES = {
    f"val2014/COCO_{n:04d}.jpg": np.random.default_rng(n).bytes(20_000)
    for n in range(50)
}
WANTED = ["val2014/COCO_0040.jpg", "val2014/COCO_0003.jpg"]


def pack(files, method=zipfile.ZIP_STORED):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(zip_members, "BLOCK", 30_000)
    with serving(pack(PICTURES), monkeypatch) as running:
        yield running


def get(server, folder, names=WANTED):
    zip_members.download(f"{server.url}/val.zip", names, folder)
    return [folder / name for name in names]


def test_members_come_whole(server, tmp_path):
    files = get(server, tmp_path)
    assert [file.read_bytes() for file in files] == [PICTURES[n] for n in WANTED]
    assert len([p for p in tmp_path.rglob("*.*") if p.suffix != ".lock"]) == 2


def test_little_more_than_the_members_is_sent(server, tmp_path):
    get(server, tmp_path)
    spans = [span.removeprefix("bytes=").split("-") for _, span in server.asked]
    sent = sum(int(last) - int(first) + 1 for first, last in spans)
    assert sent < 0.2 * len(server.manner.content)


def test_packed_members_are_unpacked(server, tmp_path):
    server.manner.content = pack({"a.txt": b"long " * 9999}, zipfile.ZIP_DEFLATED)
    assert get(server, tmp_path, ["a.txt"])[0].read_bytes() == b"long " * 9999


def test_members_that_are_here_are_not_asked_for(server, tmp_path):
    get(server, tmp_path)
    server.asked.clear()
    get(server, tmp_path)
    assert server.asked == []


def test_members_before_a_tear_are_kept_and_the_rest_comes_later(
    server, tmp_path, monkeypatch
):
    extract = zip_members._extract

    def breaks(archive, info, goal):
        if info.filename == WANTED[0]:
            server.manner.status = 404
        extract(archive, info, goal)

    with monkeypatch.context() as patch:
        patch.setattr(zip_members, "_extract", breaks)
        with pytest.raises(RuntimeError, match="404") as e:
            get(server, tmp_path)
    one_line(e)
    assert (tmp_path / WANTED[1]).read_bytes() == PICTURES[WANTED[1]]
    assert not (tmp_path / WANTED[0]).exists()
    assert not list(tmp_path.rglob("*.part"))
    server.manner.status = 200
    assert get(server, tmp_path)[0].read_bytes() == PICTURES[WANTED[0]]


def test_member_that_is_not_in_the_zip_is_an_error(server, tmp_path):
    with pytest.raises(ValueError, match=r"lacks 1 of 2 files, 'no\.jpg'") as e:
        get(server, tmp_path, ["no.jpg", WANTED[0]])
    assert "'val2014/COCO_0000.jpg'" in one_line(e)


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x"])
def test_member_that_would_leave_the_folder_is_refused(server, tmp_path, name):
    server.manner.content = pack({name: b"x"})
    with pytest.raises(ValueError, match="not a path inside"):
        get(server, tmp_path / "in", [name])
    assert list(tmp_path.iterdir()) == []


def test_link_that_leads_out_is_refused(server, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "val2014").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="remove the link"):
        get(server, tmp_path / "in")


def test_server_without_ranges_is_said_to_be_unsuited(server, tmp_path):
    server.manner.ranges = False
    with pytest.raises(RuntimeError, match="cannot be read in parts"):
        get(server, tmp_path)
    assert len(server.asked) == 1


def test_what_is_no_zip_is_an_error(server, tmp_path):
    server.manner.content = b"<html>" * 1000
    with pytest.raises(RuntimeError, match="not a whole zip") as e:
        get(server, tmp_path)
    one_line(e)


def test_member_with_another_sum_is_not_kept(server, tmp_path):
    content = bytearray(server.manner.content)
    content[content.index(PICTURES[WANTED[0]]) + 500] ^= 1
    server.manner.content = bytes(content)
    with pytest.raises(RuntimeError, match="Bad CRC-32"):
        get(server, tmp_path)
    assert not (tmp_path / WANTED[0]).exists()
    assert not list(tmp_path.rglob("*.part"))


def test_member_that_unpacks_to_more_than_it_says_is_not_kept(server, tmp_path):
    bomb = pack({"a.txt": b"0" * 1_000_000}, zipfile.ZIP_DEFLATED)
    said = struct.pack("<L", 1_000_000)
    server.manner.content = bomb.replace(said, struct.pack("<L", 1000))
    with pytest.raises(RuntimeError, match="not a whole zip"):
        get(server, tmp_path, ["a.txt"])
    assert not list(tmp_path.rglob("a.*"))


def test_members_that_do_not_fit_are_not_begun(server, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 30_000})
    monkeypatch.setattr(url.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(RuntimeError, match="40 kB needed, 30 kB free"):
        get(server, tmp_path)


def test_offline_mode_says_what_to_put_where(server, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        RuntimeError, match=r"no network.*put the 2 files \(val2014"
    ) as e:
        get(server, tmp_path)
    assert str(tmp_path) in one_line(e)


def test_network_that_goes_away_between_members_is_said_so(
    server, tmp_path, monkeypatch
):
    extract = zip_members._extract

    def loses_network(archive, info, goal):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", info.filename == WANTED[0])
        extract(archive, info, goal)

    monkeypatch.setattr(zip_members, "_extract", loses_network)
    with pytest.raises(RuntimeError, match="^no network: 127.0.0.1") as e:
        get(server, tmp_path)
    assert "by hand, or go online" in one_line(e)
