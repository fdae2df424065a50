import gzip
import io
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from data_prep.originals import archives
from data_prep.originals.archives import CHUNK, Refused, Tar, Zip
from tests.data_prep.handmade import one_line, tree

MB = 1 << 20
TEXT = b"some text, " * 1000


def zipped(path, members, packing=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def tarred(path, members, mode="w:gz"):
    """Members are names with contents, or with a ``TarInfo`` changed by a function."""
    with tarfile.open(path, mode) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            if callable(data):
                data(info)
                archive.addfile(info)
            else:
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return path


def names(archive):
    return [entry.name for entry in archive.entries()]


def contents(archive):
    return {entry.name: entry.bytes() for entry in archive.entries()}


MAKERS = {
    "a.zip": lambda path, members: (zipped(path, members), Zip(path))[1],
    "a.tar": lambda path, members: (tarred(path, members, "w"), Tar(path))[1],
    "a.tar.gz": lambda path, members: (tarred(path, members), Tar(path))[1],
}


@pytest.fixture(params=MAKERS)
def pack(request, tmp_path):
    """Packs members into an archive of one kind."""
    return lambda members: MAKERS[request.param](tmp_path / request.param, members)


def test_members_are_read_whole_and_in_any_order(pack):
    members = [(f"in/{n}.bin", bytes([n]) * size) for n, size in enumerate(SIZES)]
    archive = pack(members)
    entries = list(archive.entries())
    assert [entry.name for entry in entries] == [name for name, _ in members]
    keys = [entry.key for entry in entries][::-1]
    assert dict(archive.read(keys)) == dict(
        zip(keys, [data for _, data in members][::-1], strict=True)
    )


# Multiples of a tar's block, and of what is read at a time, make it step back.
SIZES = (0, 1, 511, 512, 1024, 8192, CHUNK - 1, CHUNK, CHUNK + 512, 2 * CHUNK)


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "C:\\x", "./x"])
def test_member_with_a_name_that_leads_out_is_read_and_nothing_written(
    pack, tmp_path, name
):
    archive = pack([(name, b"evil"), ("good.txt", b"good")])
    before = tree(tmp_path)
    found = list(contents(archive).values())
    assert found == [b"evil", b"good"]
    assert tree(tmp_path) == before


def test_links_in_a_zip_are_no_files(tmp_path):
    link = zipfile.ZipInfo("link.jpg")
    link.external_attr = 0o120777 << 16
    path = zipped(tmp_path / "a.zip", [(link, "/etc/passwd"), ("good", b"good")])
    assert contents(Zip(path)) == {"good": b"good"}


def test_links_and_devices_in_a_tar_are_no_files(tmp_path):
    def of(kind):
        def change(info):
            info.type, info.linkname = kind, "/etc/passwd"

        return change

    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)
    members = [(f"{number}.jpg", of(kind)) for number, kind in enumerate(kinds)]
    members += [("folder", of(tarfile.DIRTYPE)), ("good", b"good")]
    path = tarred(tmp_path / "a.tar.gz", members)
    assert contents(Tar(path)) == {"good": b"good"}


def test_two_members_of_one_name_are_two_entries(pack):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # zipfile's, of the name
        archive = pack([("a.json", b"one"), ("a.json", b"two")])
    assert [entry.bytes() for entry in archive.entries()] == [b"one", b"two"]


@pytest.mark.parametrize("share", [0, 0.3, 0.7, 0.97])
def test_torn_archive_is_named(pack, share):
    noise = [(f"{n}.bin", gzip.compress(bytes([n])) * 999) for n in range(20)]
    archive = pack(noise)
    path = archive.path
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(
        ValueError, match="is not a whole archive .*fetch it again"
    ) as e:
        contents(archive)
    assert str(path) in one_line(e)


def test_tar_that_is_cut_between_two_members_is_torn(tmp_path):
    path = tarred(tmp_path / "a.tar", [("a", b"a" * 512), ("b", b"b" * 512)], "w")
    path.write_bytes(path.read_bytes()[:1024])
    with pytest.raises(ValueError, match="breaks off at byte 1024"):
        names(Tar(path))


def test_tar_with_a_spoilt_header_does_not_end_there(tmp_path):
    path = tarred(tmp_path / "a.tar", [("a", b"a" * 512), ("b", b"b" * 512)], "w")
    data = bytearray(path.read_bytes())
    data[1024:1030] = b"spoilt"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="is not a whole archive"):
        names(Tar(path))


def test_gzip_with_another_sum_is_torn(tmp_path):
    path = tarred(tmp_path / "a.tar.gz", [("a", b"a" * 512)])
    data = bytearray(path.read_bytes())
    data[-8:-4] = b"sums"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="not a whole archive .CRC check failed"):
        names(Tar(path))


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tar"])
@pytest.mark.parametrize("data", [b"", b"<!DOCTYPE html>" * 99, b"PK\3\4", b"\x1f\x8b"])
def test_what_is_no_archive_is_named(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"{name} is not a whole archive"):
        names((Zip if name == "a.zip" else Tar)(path))


def spoilt(data, rng):
    made = bytearray(data)
    for at in rng.integers(0, len(made), 6):
        made[at] = rng.integers(0, 256)
    return bytes(made)


def test_spoilt_archive_is_read_or_named_and_nothing_else(pack, rng):
    members = [(f"folder/{'long' * 40}/{n}.txt", TEXT) for n in range(3)]
    archive = pack(members)
    whole = archive.path.read_bytes()
    named = 0
    for _ in range(150):
        archive.path.write_bytes(spoilt(whole, rng))
        try:
            contents(archive)
        except ValueError as error:
            named += 1
            assert str(archive.path) in str(error) and "\n" not in str(error)
    assert named > 10


def test_zip_with_a_password_is_named(tmp_path):
    path = zipped(tmp_path / "a.zip", [("a", b"a")], zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="encrypted"):
        contents(Zip(path))


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packing_that_cannot_be_bounded_is_refused(tmp_path, packing):
    path = zipped(tmp_path / "a.zip", [("a", TEXT)], packing)
    with pytest.raises(Refused, match=r"a.zip!a is packed by another method"):
        contents(Zip(path))


@pytest.fixture
def peak():
    """Bytes of Python's memory at most, so far."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def zeros(size):
    """Gzipped; made bit by bit."""
    out = io.BytesIO()
    with gzip.open(out, "wb", 6) as file:
        for _ in range(size // MB):
            file.write(bytes(MB))
    return out.getvalue()


@pytest.fixture(scope="module")
def bomb(tmp_path_factory):
    """A zip of 200 kB with a member of 200 MB."""
    path = tmp_path_factory.mktemp("bomb") / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("bomb.jpg", "w") as file:
            for _ in range(200):
                file.write(bytes(MB))
    return path


def test_zip_bomb_is_refused_before_it_is_unpacked(bomb, peak):
    assert bomb.stat().st_size < MB
    with pytest.raises(Refused, match=r"a.zip!bomb.jpg unpacks to 210 MB .*bomb") as e:
        contents(Zip(bomb))
    one_line(e)
    assert peak() < 8 * MB


def test_zip_bomb_that_lies_about_its_size_is_not_unpacked(bomb, tmp_path, peak):
    data = bomb.read_bytes()
    lie = data.replace((200 * MB).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    assert lie != data
    path = tmp_path / "a.zip"
    path.write_bytes(lie)
    with pytest.raises(ValueError, match="Bad CRC-32 for file 'bomb.jpg'"):
        contents(Zip(path))
    assert peak() < 8 * MB


def test_tar_bomb_is_refused_before_it_is_unpacked(tmp_path, peak):
    def large(info):
        info.size = 200 * MB

    tarred(tmp_path / "head.tar", [("bomb.jpg", large)], "w")
    head = (tmp_path / "head.tar").read_bytes()[:512]
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(head) + zeros(200 * MB))
    with pytest.raises(Refused, match=r"a.tar.gz unpacks to .* MB or more.*bomb"):
        names(Tar(path))
    assert peak() < 8 * MB


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_header_of_a_tar_that_claims_to_be_large_is_not_read(tmp_path, peak, kind):
    def large(info):
        info.type, info.size = kind, 50 * MB

    tarred(tmp_path / "head.tar", [("name", large)], "w")
    head = (tmp_path / "head.tar").read_bytes()[:512]
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(head) + zeros(50 * MB))
    with pytest.raises(Refused, match="has a header of 52428800 bytes"):
        names(Tar(path))
    assert peak() < 8 * MB


def test_member_larger_than_any_file_of_a_data_set_is_refused(pack, monkeypatch):
    archive = pack([("a", TEXT)])
    monkeypatch.setattr(archives, "MAX_MEMBER", 1000)
    with pytest.raises(Refused, match="no file of this data set"):
        contents(archive)


def test_large_member_of_a_gzipped_tar_is_unpacked_once(tmp_path, monkeypatch):
    members = [(f"{n}.bin", bytes([n]) * 2 * CHUNK) for n in range(8)]
    path = tarred(tmp_path / "a.tar.gz", members)
    rewinds = []
    rewind = gzip._GzipReader._rewind
    monkeypatch.setattr(
        gzip._GzipReader, "_rewind", lambda self: (rewinds.append(1), rewind(self))
    )
    assert len(list(Tar(path).read(range(8)))) == 8
    assert rewinds == []


def test_memory_of_a_lying_bomb_is_bounded_by_the_system_too(bomb, tmp_path):
    """In a process of its own, as zlib's memory is not Python's."""
    lie = bomb.read_bytes().replace(
        (200 * MB).to_bytes(4, "little"), (1000).to_bytes(4, "little")
    )
    path = tmp_path / "a.zip"
    path.write_bytes(lie)
    code = f"""
from pathlib import Path
from data_prep.originals.archives import Zip
from tests.data_prep.handmade import peak_kb
before = peak_kb()
try:
    [entry.bytes() for entry in Zip(Path({str(path)!r})).entries()]
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
    assert "not a whole archive" in told
    assert int(grown) < 30_000  # kB
