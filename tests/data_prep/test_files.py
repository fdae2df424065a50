import hashlib
import os

import pytest

from data_prep.originals.files import Folder
from tests.data_prep.handmade import one_line
from tests.fixtures.makers.draw import write


def names(folder):
    return [entry.name for entry in Folder(folder).entries()]


def test_files_are_told_by_their_path_in_the_folder_in_order(tmp_path):
    for name in ("b/2.jpg", "b/1.jpg", "a/deep/3.jpg", "0.json"):
        write(tmp_path / name, name.encode())
    assert names(tmp_path) == ["0.json", "a/deep/3.jpg", "b/1.jpg", "b/2.jpg"]
    for entry in Folder(tmp_path).entries():
        assert entry.bytes() == entry.name.encode()
        assert entry.digest() == hashlib.sha256(entry.name.encode()).hexdigest()
        assert entry.where == str(tmp_path / entry.name)
        with entry.open() as file:
            assert file.read() == entry.bytes()


def test_hidden_folders_are_left_out(tmp_path):
    write(tmp_path / ".cache" / "a.json", b"")
    write(tmp_path / "b.json", b"")
    assert names(tmp_path) == ["b.json"]


def test_folder_that_links_lead_to_counts_once(tmp_path):
    write(tmp_path / "a" / "1.jpg", b"1")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    assert names(tmp_path) == ["a/1.jpg"]


def test_folder_elsewhere_is_reached_by_a_link(tmp_path):
    write(tmp_path / "elsewhere" / "1.jpg", b"1")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "images").symlink_to(tmp_path / "elsewhere")
    assert names(tmp_path / "here") == ["images/1.jpg"]


def test_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    [entry] = Folder(tmp_path).entries()
    for look in (entry.bytes, entry.digest, entry.open):
        with pytest.raises(ValueError, match="a.jpg is no plain file") as e:
            look()
        one_line(e)


def test_file_that_is_gone_is_named(tmp_path):
    write(tmp_path / "a.jpg", b"")
    [entry] = Folder(tmp_path).entries()
    (tmp_path / "a.jpg").unlink()
    for look in (entry.bytes, entry.digest, entry.open):
        with pytest.raises(ValueError, match="a.jpg cannot be read: No such file") as e:
            look()
        one_line(e)


def test_link_to_nothing_is_named_when_it_is_read(tmp_path):
    (tmp_path / "a.jpg").symlink_to(tmp_path / "nothing")
    [entry] = Folder(tmp_path).entries()
    with pytest.raises(ValueError, match="a.jpg cannot be read"):
        entry.bytes()


def test_folder_that_may_not_be_looked_into_is_named(tmp_path, monkeypatch):
    write(tmp_path / "closed" / "a.jpg", b"")
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ValueError, match="closed cannot be read: Permission denied"):
        names(tmp_path)
