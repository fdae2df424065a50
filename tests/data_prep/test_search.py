import pytest

from data_prep.originals.search import Originals
from tests.data_prep.handmade import one_line
from tests.data_prep.test_archives import tarred, zipped
from tests.fixtures.makers.draw import write


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no folder {tmp_path}/nothing; give"):
        Originals([tmp_path / "nothing"])


def test_file_in_place_of_a_folder_is_named(tmp_path):
    write(tmp_path / "a.zip", b"")
    with pytest.raises(FileNotFoundError, match="no folder .*a.zip"):
        Originals([tmp_path / "a.zip"])


@pytest.mark.parametrize("other", [".", "in", "link", "in/../in"])
def test_folder_given_twice_is_refused(tmp_path, other):
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    with pytest.raises(ValueError, match="is given twice, or lies in another") as e:
        Originals([tmp_path / "in", tmp_path / other])
    one_line(e)


def test_folders_side_by_side_are_one(tmp_path):
    write(tmp_path / "a" / "1.json", b"1")
    write(tmp_path / "a-more" / "2.jpg", b"2")
    originals = Originals([tmp_path / "a", tmp_path / "a-more"])
    assert originals.find("images/2.jpg").bytes() == b"2"
    assert originals.need("*.json").bytes() == b"1"


def test_file_with_more_of_the_path_is_found(tmp_path):
    for split in ("train", "val"):
        write(tmp_path / "x" / split / "1.jpg", split.encode())
    originals = Originals([tmp_path])
    assert originals.find("val/1.jpg").bytes() == b"val"
    assert originals.find("x/train/1.jpg").bytes() == b"train"


def test_name_alone_is_enough_if_there_is_one(tmp_path):
    write(tmp_path / "spdocvqa_images" / "1.png", b"1")
    assert Originals([tmp_path]).find("documents/1.png").bytes() == b"1"
    assert Originals([tmp_path]).find("documents/2.png") is None


def test_two_pictures_that_fit_equally_well_are_named(tmp_path):
    write(tmp_path / "a" / "1.jpg", b"one")
    write(tmp_path / "b" / "1.jpg", b"two")
    with pytest.raises(ValueError, match="a/1.jpg and .*b/1.jpg are different") as e:
        Originals([tmp_path]).find("images/1.jpg")
    one_line(e)


def test_two_copies_of_a_picture_are_one(tmp_path):
    write(tmp_path / "a" / "1.jpg", b"one")
    write(tmp_path / "b" / "1.jpg", b"one")
    assert Originals([tmp_path]).find("images/1.jpg").bytes() == b"one"


def test_plain_files_come_before_members_of_archives(tmp_path):
    zipped(tmp_path / "a.zip", [("val/1.jpg", b"packed"), ("val/2.jpg", b"two")])
    write(tmp_path / "val" / "1.jpg", b"plain")
    originals = Originals([tmp_path])
    assert originals.find("val/1.jpg").bytes() == b"plain"
    assert originals.find("val/2.jpg").bytes() == b"two"


def test_archives_are_not_opened_unless_asked_for(tmp_path):
    write(tmp_path / "other.zip", b"torn")
    write(tmp_path / "a.json", b"{}")
    assert Originals([tmp_path]).need("a.json").bytes() == b"{}"
    with pytest.raises(ValueError, match="other.zip is not a whole archive"):
        Originals([tmp_path]).find("1.jpg")


def test_members_of_every_kind_of_archive_are_found(tmp_path):
    zipped(tmp_path / "A.ZIP", [("a.jpg", b"a")])
    tarred(tmp_path / "b.tgz", [("./in/b.jpg", b"b")])
    tarred(tmp_path / "c.tar", [("c.jpg", b"c")], "w")
    originals = Originals([tmp_path])
    found = [originals.find(f"images/{name}.jpg").bytes() for name in "abc"]
    assert found == [b"a", b"b", b"c"]


def test_what_a_system_keeps_beside_files_is_left_out(tmp_path):
    zipped(tmp_path / "a.zip", [("__MACOSX/a.json", b""), ("a.json", b"a")])
    zipped(tmp_path / "b.zip", [("._b.json", b""), ("b.json", b"b")])
    write(tmp_path / "._c.json", b"")
    write(tmp_path / "c.jpg", b"c")
    originals = Originals([tmp_path])
    assert [e.name for e in originals.matching("*.json")] == ["a.json", "b.json"]


@pytest.mark.parametrize("names", [("a/v.json", "b/v.json"), ("v_1.json", "v_2.json")])
def test_two_annotation_files_are_named_not_chosen_from(tmp_path, names):
    for name in names:
        write(tmp_path / name, name.encode())
    with pytest.raises(ValueError, match=f"{names[0]} and .*{names[1]} are diff") as e:
        Originals([tmp_path]).need("v*.json")
    one_line(e)


def test_two_annotation_files_in_one_archive_are_named(tmp_path):
    tarred(tmp_path / "a.tar.gz", [("v.json", b"one"), ("v.json", b"two")])
    with pytest.raises(ValueError, match="are different files"):
        Originals([tmp_path]).need("v.json")


def test_two_copies_of_an_annotation_file_are_one(tmp_path):
    for name in ("a/v.json", "b/v.json"):
        write(tmp_path / name, b"same")
    originals = Originals([tmp_path])
    assert originals.need("v.json").bytes() == b"same"
    assert [file["name"] for file in originals.read_files()] == ["a/v.json"]


def test_link_to_a_file_beside_it_does_not_count_twice(tmp_path):
    write(tmp_path / "a" / "v-0.parquet", b"rows")
    (tmp_path / "a" / "v-1.parquet").symlink_to("v-0.parquet")
    write(tmp_path / "b" / "v-2.parquet", b"more")
    (tmp_path / "a" / "again").symlink_to(tmp_path / "b")
    originals = Originals([tmp_path / "a", tmp_path / "b"])
    found = originals.need_all("v-*.parquet")
    assert [entry.bytes() for entry in found] == [b"more", b"rows"]


def test_files_of_equal_contents_are_kept_apart_in_the_hubs_cache(tmp_path):
    write(tmp_path / "blobs" / "0a1b2c", b"same")
    shown = tmp_path / "snapshots" / "rev" / "direct_attributes"
    shown.mkdir(parents=True)
    for name in ("sa_1.jpg", "sa_2.jpg"):
        (shown / name).symlink_to("../../../blobs/0a1b2c")
    for folder in (tmp_path, shown.parent):
        found = Originals([folder]).matching("direct_attributes/*.jpg")
        assert [entry.name[-8:] for entry in found] == ["sa_1.jpg", "sa_2.jpg"]


def test_missing_file_is_named_with_the_folders(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    originals = Originals([tmp_path / "a", tmp_path / "b"])
    for need in (originals.need, originals.need_all):
        with pytest.raises(FileNotFoundError, match=r"no v\*.json in .*/a, .*/b") as e:
            need("v*.json")
        one_line(e)


def test_pattern_fits_whole_parts_of_a_path_only(tmp_path):
    for name in ("val_old/x/a.json", "data/val_a.json", "data/val/b.json"):
        write(tmp_path / name, b"")
    originals = Originals([tmp_path])

    def fits(pattern):
        return [entry.name for entry in originals.matching(pattern)]

    assert fits("val_*.json") == ["data/val_a.json"]
    assert fits("val*/*.json") == ["data/val/b.json"]
    assert fits("b.json") == ["data/val/b.json"]
    assert fits("other/b.json") == []


def test_files_that_were_read_are_told_with_their_sums(tmp_path):
    import hashlib

    write(tmp_path / "b.json", b"b")
    zipped(tmp_path / "a.zip", [("in/a.json", b"a")])
    originals = Originals([tmp_path])
    originals.need("b.json")
    originals.need_all("a.json")
    originals.need("b.json")
    originals.matching("*.zip")
    sums = {name: hashlib.sha256(name[-6:-5].encode()).hexdigest() for name in NAMES}
    assert originals.read_files() == [
        {"name": name, "sha256": sums[name]} for name in NAMES
    ]


NAMES = ("b.json", "in/a.json")
