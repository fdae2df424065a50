import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vicrop.run import datasets, loop, shards
from vicrop.run.folder import META, RunFolder
from vicrop.run.records import RunConfig, Sample


def samples_of(counts):
    """So many questions about each image, not side by side."""
    rows = [
        Sample(id=f"{image}-{n}", question="?", labels=("a",), image_path=f"{image:03}")
        for image, count in enumerate(counts)
        for n in range(count)
    ]
    return rows[::2] + rows[1::2]


COUNTS = st.lists(st.integers(1, 9), min_size=1, max_size=12)


@given(COUNTS, st.integers(1, 15))
def test_shards_are_the_whole_in_its_order_and_no_image_is_in_two(counts, number):
    samples = samples_of(counts)
    parts = [datasets.part(samples, shard, number) for shard in range(number)]
    assert sum(parts, []) == datasets.in_order(samples)
    images = [image for part in parts for image in {s.image_path for s in part}]
    assert len(images) == len(set(images)) == len(counts)


@given(COUNTS, st.integers(1, 15))
def test_an_image_is_where_the_middle_of_its_questions_lies(counts, number):
    """Twin in floats: each shard covers an equal length of all questions."""
    samples, before = samples_of(counts), 0
    parts = [datasets.part(samples, shard, number) for shard in range(number)]
    for image, count in enumerate(counts):
        place = (before + count / 2) / len(samples) * number
        before += count
        if abs(place - round(place)) > 1e-9:
            found = [any(s.image_path == f"{image:03}" for s in p) for p in parts]
            assert found.index(True) == int(place)


def test_shards_ask_about_equally_many():
    parts = [datasets.part(samples_of([3] * 100), shard, 7) for shard in range(7)]
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 3


def test_one_shard_is_the_whole_run():
    samples = samples_of([2, 5])
    assert datasets.part(samples, 0, 1) == datasets.in_order(samples)


@pytest.fixture
def folder(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "data")


@pytest.fixture
def config(folder, random_weights, results_folder):
    return RunConfig(dataset=str(folder), max_new_tokens=2, save_maps=True)


def shard_of(config, shard, count=3):
    return config.model_copy(update={"shard": shard, "shards": count})


@pytest.fixture
def made(config):
    """All three shards of a run."""
    return [loop.run(shard_of(config, n), progress=False) for n in range(3)]


def merge(config):
    return shards.merge(shard_of(config, 0))


def test_merged_shards_are_the_run_made_in_one_piece(config, made):
    merged = merge(config)
    files = [merged.records_file, merged.maps_file]
    text = [file.read_bytes() for file in files]
    meta = merged.meta()
    shutil.rmtree(merged.folder)
    whole = loop.run(config, progress=False)
    assert [file.read_bytes() for file in files] == text
    assert meta["identity"] == whole.meta()["identity"]
    assert meta["records"] == whole.meta()["records"]
    assert meta["config"] == whole.meta()["config"]
    for key in ("answered", "asked", "errors", "passes", "tokens"):
        assert meta[key] == whole.meta()[key]
    assert meta["shards"] == 3 and meta["finished"]


def test_merged_run_has_nothing_left_to_do(config, made, monkeypatch):
    merge(config)
    monkeypatch.setattr(loop, "answer_one", lambda *_: pytest.fail("answered again"))
    again = loop.run(config, progress=False)
    assert again.meta()["answered"] == 6


def test_merging_again_gives_the_same(config, made):
    first = merge(config).records_file.read_bytes()
    assert merge(config).records_file.read_bytes() == first


def change_meta(part, **changes):
    part.write_meta({**part.meta(), **changes})


def drop_last_line(part):
    text = part.records_file.read_text().splitlines(keepends=True)
    part.records_file.write_text("".join(text[:-1]))


def reseal(part):
    change_meta(part, records=part.seal())


def double_another(part, other):
    with part.records_file.open("a") as file:
        file.write(other.records_file.read_text().splitlines(keepends=True)[0])
    reseal(part)


def lose_one(part):
    drop_last_line(part)
    reseal(part)


FAULTS = {
    "gone": (lambda p: shutil.rmtree(p[1].folder), "1-of-3: it is not finished"),
    "unfinished": (
        lambda p: change_meta(p[1], finished=False),
        "shard 1-of-3: it is not finished; run the same again",
    ),
    "cut": (
        lambda p: drop_last_line(p[2]),
        "2-of-3: records.jsonl changed .* 2 lines then, 1 now",
    ),
    "other weights": (
        lambda p: change_meta(p[0], identity={**p[0].meta()["identity"], "weights": 1}),
        "shard 0-of-3 made with other weights than the rest",
    ),
    "other data": (
        lambda p: change_meta(p[2], identity={**p[2].meta()["identity"], "data": 1}),
        "shard 2-of-3 made with other data than the rest",
    ),
    "other version": (
        lambda p: change_meta(p[2], versions={**p[2].meta()["versions"], "torch": "1"}),
        "shard 2-of-3 made with other torch than the rest",
    ),
    "doubled": (
        lambda p: double_another(p[0], p[1]),
        "shard 0-of-3: line 3: sample '1-read' is not of this run",
    ),
    "gap": (
        lambda p: lose_one(p[1]),
        "1-of-3: 1 samples have no record, such as '1-color'",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_shards_that_do_not_fit_are_not_merged(config, made, name):
    spoil, message = FAULTS[name]
    spoil(made)
    with pytest.raises(ValueError, match=f"cannot be merged: .*{message}"):
        merge(config)
    assert not (RunFolder.of(config).folder / META).exists()
    assert not RunFolder.of(config).records_file.exists()


def test_spoilt_shard_is_mended_by_running_it_again(config, made):
    whole = merge(config).records_file.read_bytes()
    drop_last_line(made[2])
    text = made[0].records_file.read_text()
    made[0].records_file.write_text(text.replace('"labels"', '"lebals"', 1))
    for number in (0, 2):
        again = loop.run(shard_of(config, number), progress=False)
        assert again.meta()["finished"]
    assert merge(config).records_file.read_bytes() == whole
    assert any("taken out" in note for note in made[0].meta()["notes"])


def test_images_without_questions_of_a_method_make_no_gap(config, folder):
    """Human crops leave out what has no box: shards are of what is asked."""
    rows = json.loads((folder / "data.json").read_text())
    rows[0]["boxes"] = rows[1]["boxes"] = []
    (folder / "data.json").write_text(json.dumps(rows))
    config = config.model_copy(update={"method": "human-crop", "save_maps": False})
    for number in range(3):
        loop.run(shard_of(config, number), progress=False)
    assert len(list(merge(config).records())) == 4
