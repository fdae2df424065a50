import zipfile

import pytest
from file_server import one_line, serving

from data_prep import obtain
from data_prep.base import DataSet, Item, Layout, Pictures
from data_prep.build import build
from data_prep.fetch import Remote
from data_prep.originals import Originals
from data_prep.tables import json_rows
from tests.data_prep.handmade import tree
from tests.fixtures.makers.draw import picture, write, write_json

SIZE = (40, 30)


def read(originals, rng):
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
        obtain.obtain(BY_HAND, tmp_path)
    assert f"put the files into {tmp_path}/mine and run again" in one_line(e)
    assert "--source" in str(e.value)


def test_files_that_were_put_there_by_hand_are_found(tmp_path):
    write(tmp_path / "mine" / "other.json", b"[]")
    with pytest.raises(FileNotFoundError, match="put the files into"):
        obtain.obtain(BY_HAND, tmp_path)
    write(tmp_path / "mine" / "in" / "val.json", b"[1]")
    assert obtain.obtain(BY_HAND, tmp_path) == ([tmp_path / "mine"], {})


def test_mirror_that_there_is_not_is_named(tmp_path):
    with pytest.raises(ValueError, match="mine has no mirror; leave --mirror out"):
        obtain.plan(data_set(), tmp_path, mirror=True)


def test_nothing_is_fetched_that_was_not_agreed_to(tmp_path):
    files = {"mine": (Remote("http://127.0.0.1:9/val.json", 0.5),)}
    seen = []

    def refuse(rows):
        seen.extend(rows)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="^no$"):
        obtain.obtain(data_set(files=files), tmp_path / "o", agree=refuse)
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
            files={"mine": (Remote(f"{server.url}/val.json", 0.1),)},
            pictures=Pictures(url, "shared", 0.2),
        )
        yield mine, root, server


def states(mine, root, **options):
    return [row.state for row in obtain.plan(mine, root, **options)]


def test_only_pictures_that_are_asked_about_are_fetched(served, tmp_path):
    mine, root, server = served
    assert states(mine, root) == ["here", "to fetch: 3"]
    found = obtain.obtain(mine, root)
    assert found.folders == [root / "mine", root / "shared"]
    assert found.origin["shared"] == f"{server.url}/val.zip"
    shown = {name for name in tree(root / "shared") if name.endswith(".jpg")}
    assert shown == {f"val/{number}.jpg" for number in range(3)}
    made = build(mine, Originals(found.folders), tmp_path / "data", progress=False)
    assert made.note["counts"]["images"] == 3


def test_all_is_here_the_second_time(served):
    mine, root, server = served
    obtain.obtain(mine, root)
    server.asked.clear()
    assert states(mine, root) == ["here", "here"]
    obtain.obtain(mine, root)
    assert server.asked == []


def test_pictures_of_a_subset_are_those_of_its_questions(served):
    mine, root, _ = served
    obtain.obtain(mine, root, limit=1, seed=4)
    assert len(list((root / "shared" / "val").iterdir())) == 1
    assert states(mine, root, limit=1, seed=4) == ["here", "here"]
    assert states(mine, root) == ["here", "to fetch: 2"]


def test_pictures_of_an_archive_that_another_data_set_has_fetched_are_here(
    served, tmp_path
):
    mine, root, server = served
    write(root / "shared" / "val.zip", (tmp_path / "val.zip").read_bytes())
    assert states(mine, root) == ["here", "here"]
    found = obtain.obtain(mine, root)
    assert server.asked == [] and found.folders == [root / "mine", root / "shared"]
    made = build(mine, Originals(found.folders), tmp_path / "data", progress=False)
    assert made.note["counts"]["images"] == 3


def test_how_many_pictures_are_missing_is_not_known_before_the_questions_are(served):
    mine, root, _ = served
    (root / "mine" / "val.json").unlink()
    assert states(mine, root) == ["to fetch", "to fetch"]
