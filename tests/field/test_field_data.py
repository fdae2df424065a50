"""What people bring as data: cases 11 to 14, and further inputs of these kinds."""

import codecs
import json
import re
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image
from typer.testing import CliRunner

from analysis import failures
from vicrop.cli import app
from vicrop.run import checks, datasets, loop, results, scores, shards
from vicrop.run.folder import RunFolder
from vicrop.run.progress import Tally
from vicrop.run.records import Record, RunConfig, Sample
from vicrop.types import Answer
from workflow import replay, tables

PLAIN = {"id": "a", "question": "où?", "labels": ["4"], "image_path": "0.png"}
NAN = float("nan")


def read(folder, content):
    """The samples of a ``data.json`` of such bytes, or of such rows."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    (folder / "data.json").write_bytes(text)
    return datasets.read(folder / "data.json")


def refusal(folder, content):
    """Why it is refused: one line, short whatever is in it, that names the file."""
    with pytest.raises(ValueError, match=r"^[^\n]*data\.json [^\n]*$") as caught:
        read(folder, content)
    told = str(caught.value).partition("data.json ")[2]
    assert len(told) < 600
    return told


# 11: data.json as other programs write it.

TEXT = json.dumps([PLAIN], ensure_ascii=False, indent=1)
LINE = json.dumps(PLAIN).encode()
ONE_MEANING = {
    "a byte order mark": codecs.BOM_UTF8 + TEXT.encode(),
    "CRLF": TEXT.replace("\n", "\r\n").encode(),
    "UTF-16": TEXT.encode("utf-16"),
    "UTF-16 without a mark": TEXT.encode("utf-16-le"),
    "UTF-32": TEXT.encode("utf-32"),
    "escapes": json.dumps([PLAIN]).encode(),
    "blank lines around": b"\n\n" + TEXT.encode() + b"\r\n \n",
}


@pytest.mark.parametrize("content", ONE_MEANING.values(), ids=ONE_MEANING)
def test_text_of_one_meaning_is_read_however_it_is_stored(tmp_path, content):
    """Case 11: a BOM, CRLF and every UTF are read."""
    assert read(tmp_path, content) == [Sample(**PLAIN)]


NAMED = {
    "Windows' encoding": (TEXT.encode("cp1252"), "byte 0xf9 .*iconv -f CP1252"),
    "JSON Lines": (LINE + b"\n" + LINE, "Extra data: line 2 .*`jq -s .` makes"),
    "a trailing comma": (b"[" + LINE + b",]", "column .* ']'; .*comma before ]"),
    "a comment first": (b"// mine\n[" + LINE + b"]", "line 1 .*'// mine.*comments"),
    "a comment inside": (b"[" + LINE + b"\n# no\n]", "line 2 column 1 .*'# no"),
    "Python's own text": (str([PLAIN]).encode(), "double quotes: line 1 column 3"),
    "nothing": (b"", "line 1 column 1"),
    "half of it": (TEXT.encode()[:60], "line 6 column 7"),
    "a web page": (b"<!DOCTYPE html><p>Sign in", "'<!DOCTYPE html><p>Si'"),
    "a git-lfs pointer": (b"version https://git-lfs/spec/v1", "'version https"),
    "gzip": (b"\x1f\x8b\x08\x00\x00", "byte 0x8b in position 1"),
    "half a UTF-16 character": (TEXT.encode("utf-16")[:-1], "truncated data"),
    "100,000 brackets": (b"[" * 100_000, "recursion depth"),
    "half a character": (LINE.join([b"[", b"]"]).replace(b"o", b"\\ud83d"), "unicode"),
    "a list inside": ({"version": 1, "data": [PLAIN]}, "'version': 1, 'data'.*take it"),
    "columns": ({k: [v] for k, v in PLAIN.items()}, "columns .*orient='records'"),
    "one row": (PLAIN, "must hold a list of samples"),
    "a key twice": (b'[{"id": "a", "id": "b"}]', "'id' is there twice in {'id': 'b'}"),
    "one of meta twice": (b'[{"meta": {"n": 1, "n": 2}}]', "'n' is there twice"),
}


@pytest.mark.parametrize(("content", "told"), NAMED.values(), ids=NAMED)
def test_file_of_another_form_is_named_with_what_was_expected(tmp_path, content, told):
    """Case 11: what it is, where, and what to type."""
    assert re.search(told, refusal(tmp_path, content))


READ = {
    "an id that is a number": ({"id": 7}, {"id": "7"}),
    "a large id": ({"id": 2**70}, {"id": str(2**70)}),
    "one label": ({"labels": "red"}, {"labels": ["red"]}),
    "a number as label": ({"labels": 3}, {"labels": ["3"]}),
    "numbers as labels": ({"labels": [3, "three"]}, {"labels": ["3", "three"]}),
    "null": (dict.fromkeys(["boxes", "options", "meta", "short_question"]), {}),
    "gaps of a table": ({"short_question": NAN, "boxes": "", "options": NAN}, {}),
    "coordinates as text": (
        {"boxes": [["1", "2", "3", "4"]]},
        {"boxes": [[1, 2, 3, 4]]},
    ),
    "a colon in a name": (
        {"image_path": "at 12:30.png"},
        {"image_path": "at 12:30.png"},
    ),
}


@pytest.mark.parametrize(("given", "meant"), READ.values(), ids=READ)
def test_field_of_one_meaning_is_read(tmp_path, given, meant):
    """Case 11: numbers, single values, and a table's empty cells."""
    assert read(tmp_path, [PLAIN | given]) == [Sample(**PLAIN | meant)]


REFUSED = {
    "a fraction as label": ({"labels": [3.0]}, "labels.0: .*string .*'3.0'"),
    "a truth value as label": ({"labels": [True]}, "labels.0: .*'True'"),
    "the text of a list": ({"labels": "['a', 'b']"}, "labels: .*Texts that count"),
    "an empty id": ({"id": ""}, "id: .*Unique in"),
    "a truth value as id": ({"id": False}, "id: .*'False'"),
    "an empty question": ({"question": ""}, "question: .*got ''"),
    "an absolute path": ({"image_path": "/x/0.png"}, "image_path: it leaves images/"),
    "a drive": ({"image_path": "C:\\x\\0.png"}, "image_path: it leaves images/"),
    "a share": ({"image_path": "\\\\nas\\0.png"}, "image_path: it leaves images/"),
    "a step up": ({"image_path": "a\\..\\..\\0.png"}, "image_path: it leaves images/"),
    "an address": ({"image_path": "https://x.org/0.png"}, "image_path: it leaves"),
    "base 64": (
        {"image_path": "data:image/png;base64," + "A" * 9999},
        "image_path: it ",
    ),
    "a number as picture": ({"image_path": 139}, "image_path: .*got '139'"),
    "a field of ours misnamed": ({"answer": "4"}, "answer: .*known: id, question, lab"),
}


@pytest.mark.parametrize(("given", "told"), REFUSED.values(), ids=REFUSED)
def test_field_of_no_one_meaning_is_named_with_row_and_value(tmp_path, given, told):
    """Case 11: what tables make of whole numbers; paths from elsewhere."""
    assert re.match(f"row 1 field {told}", refusal(tmp_path, [PLAIN, PLAIN | given]))


@pytest.fixture
def data(write_data, row):
    """Writes rows with so many pictures of a size; the folder."""

    def write(rows, size=(64, 48), count=1):
        made = [row(**{"id": str(n)} | changes) for n, changes in enumerate(rows)]
        return write_data(made, [Image.new("RGB", size)] * count)

    return write


def begin(folder, **settings):
    """What a run that begins asks."""
    return datasets.asked(RunConfig(dataset=str(folder), **settings), begins=True)


WRITTEN = {
    "backslashes": ("sub\\é.png", "sub/é.png"),
    "the folder's own name": ("images/a.png", "a.png"),
    "a step on the spot": ("./a.png", "a.png"),
    "two slashes": ("sub//a.png", "sub/a.png"),
    "accents in two pieces": (unicodedata.normalize("NFD", "é.png"), "é.png"),
    "accents in one, on a Mac": ("é.png", unicodedata.normalize("NFD", "é.png")),
    "a backslash in a name": ("a\\b.png", "a\\b.png"),
}


@pytest.mark.parametrize(("path", "name"), WRITTEN.values(), ids=WRITTEN)
def test_picture_is_found_as_another_system_wrote_its_name(data, path, name):
    """Case 11: the record keeps the path as it is in data.json."""
    folder = data([{"image_path": path}])
    (folder / "images" / "sub").mkdir()
    (folder / "images" / "0.png").rename(folder / "images" / name)
    [sample] = begin(folder)
    assert sample.image_path == path
    assert datasets.image_path(str(folder), sample) == folder / "images" / name


def test_name_in_other_letter_case_is_named_with_the_one_on_disk(data):
    """Case 11: two files may differ in case only, so none is taken."""
    folder = data([{"image_path": "A.PNG"}])
    (folder / "images" / "0.png").rename(folder / "images" / "a.png")
    with pytest.raises(FileNotFoundError, match="such as 'A.PNG' .*, where 'a.png' is"):
        begin(folder)


# 12: boxes in another unit.

SIZES = [(448, 448), (640, 480), (1024, 768), (3000, 2000), (480, 3000)]


@pytest.fixture
def pictured(monkeypatch, write_data, row):
    """Begins a run on boxes in pictures of these sizes, which need not be drawn."""

    def asked(boxes, sizes):
        rows = [
            row(id=str(n), image_path=f"{n}.png", boxes=[list(map(float, box))])
            for n, box in enumerate(boxes)
        ]
        monkeypatch.setattr(datasets, "_check_pictures", lambda *_: None)
        monkeypatch.setattr(datasets, "image_path", lambda _, s: int(s.id))
        monkeypatch.setattr(datasets, "image_size", lambda n: sizes[n % len(sizes)])
        return begin(write_data(rows))

    return asked


def shares(rng, count):
    """So many boxes in shares of their pictures."""
    corner, side = rng.uniform(0, 0.9, (count, 2)), rng.uniform(0.02, 0.3, (count, 2))
    return np.hstack([corner, np.minimum(corner + side, 1)])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [1, 4, 300])
def test_normalised_boxes_are_refused_with_the_guess(pictured, rng, size, count):
    """Case 12: 0–1, before anything is computed."""
    with pytest.raises(
        ValueError, match="row 0 field boxes: box .* looks normalised, "
    ):
        pictured(shares(rng, count), [size])


@pytest.mark.parametrize("size", SIZES[:2])
@pytest.mark.parametrize("count", [12, 300])
def test_boxes_in_thousandths_leave_small_pictures(pictured, rng, size, count):
    """Case 12: 0–1000, of InternVL and Qwen2-VL."""
    with pytest.raises(ValueError, match="samples do not fit.*normalised to 0–1000?"):
        pictured(np.rint(1000 * shares(rng, count)), [size])


@pytest.mark.parametrize(
    "sizes", [SIZES[3:4], [(2560, 1440)], [(4000, 3000), (1920, 1080)]]
)
def test_boxes_in_thousandths_are_told_in_large_pictures_too(pictured, rng, sizes):
    """Case 12: there none leaves its picture, but none goes beyond 1000 either."""
    with pytest.raises(
        ValueError, match="look normalised to 0–1000, for none goes bey"
    ):
        pictured(np.rint(1000 * shares(rng, 60)), sizes)


@pytest.mark.parametrize("seed", range(40))
def test_true_pixel_boxes_are_never_taken_for_another_unit(pictured, seed):
    """Case 12: no false alarm, whatever the pictures' sizes and the boxes' number."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(20, 5000, (rng.integers(1, 60), 2)).tolist()
    count = int(rng.integers(1, 100))
    scale = np.array([sizes[n % len(sizes)] * 2 for n in range(count)])
    boxes = shares(rng, count) * scale
    assert len(pictured(boxes, list(map(tuple, sizes)))) == count


@pytest.mark.parametrize(
    ("boxes", "size"),
    [
        ([[0, 0, 1, 1], [5, 5, 9, 9]], (448, 448)),
        ([[0, 0, 2, 1]], (448, 448)),
        ([[0, 0, 1, 1]], (2, 2)),
        ([[0, 0.5, 1.5, 1]], (448, 448)),
        ([[40, 40, 300, 200]] * 50, (4000, 3000)),
        ([[800, 20, 990, 60]] * 50, (4000, 3000)),
        ([[0, 0, 1000, 1000], [1, 1, 999, 20]] * 20, (1000, 1000)),
    ],
    ids=[
        "a pixel",
        "two pixels",
        "of four",
        "a fraction",
        "one corner",
        "one band",
        "of 1000",
    ],
)
def test_small_and_cornered_pixel_boxes_are_taken(pictured, boxes, size):
    """Case 12: objects may always be small, or in the same place."""
    assert len(pictured(boxes, [size])) == len(boxes)


@pytest.mark.parametrize("count", [2, 30])
def test_one_wrong_box_among_others_is_its_own_samples_fault(pictured, count):
    """Case 12: it fails with its reason; the run is not refused for it."""
    boxes = [[1, 1, 9, 9]] * (count - 1) + [[1, 1, 900, 9]]
    samples = pictured(boxes, [(100, 100)])
    wrong = next(sample for sample in samples if sample.boxes[0][2] == 900)
    with pytest.raises(
        ValueError, match="sample .*leaves its picture of 100×100 .*0–1000"
    ):
        datasets.clipped(wrong, (100, 100))


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        ([-0.4, -2, 101.5, 50.3], (0, 0, 100, 50)),
        ([3, 4, 5, 6], (3, 4, 5, 6)),
        ([98, 2, 102, 9], (98, 2, 100, 9)),
    ],
)
def test_box_over_the_edge_by_a_hair_is_clipped(row, box, kept):
    """Case 12: as ``vicrop prep`` does it."""
    sample = Sample.model_validate(row(boxes=[box]))
    assert datasets.clipped(sample, (100, 50)).boxes == (kept,)


def test_clipped_box_counts_in_records(data, random_weights, results_folder):
    """Case 12: size and coverage are of what is in the picture."""
    folder = data([{"boxes": [[0, 0, 32, 49.5]]}])
    config = RunConfig(dataset=str(folder), method="human-crop", max_new_tokens=1)
    [record] = loop.run(config, progress=False).records()
    assert (record.size, record.coverage, record.error) == (0.5, 1, None)


def test_box_of_a_picture_before_it_was_turned_says_so(data):
    """Case 12: boxes are of the upright picture."""
    folder = data([{"boxes": [[50, 2, 62, 40]]}])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (64, 48)).save(folder / "images" / "0.png", exif=exif)
    told = "picture of 48×64 .*upright picture; is it .*before its EXIF turned it"
    with pytest.raises(ValueError, match=told):
        begin(folder)


@pytest.mark.parametrize(
    ("boxes", "told"),
    [
        ([[300, 200, 50, 60]], "if it is .x, y, width, height., add x and y"),
        ([1, 2, 3, 4], "boxes.0: .*Ground truth, each .left, top, right, bottom., pix"),
        ([{"x": 1, "y": 2, "width": 3, "height": 4}], "boxes.0: .*each .left, top"),
        (["1,2,3,4"], "boxes.0: .*got '1,2,3,4'"),
        ([[1, 2, 3, 1e999]], "all finite"),
    ],
    ids=["xywh", "one box", "names", "text", "infinite"],
)
def test_boxes_of_another_form_are_named(tmp_path, boxes, told):
    """Case 12: with the form that is expected."""
    assert re.search(told, refusal(tmp_path, [PLAIN | {"boxes": boxes}]))


def test_shares_among_pixels_are_refused_too(tmp_path):
    """Case 12, further: data put together of two sources."""
    rows = [PLAIN | {"boxes": [[3, 4, 50, 60]]}, PLAIN | {"boxes": [[0, 0.1, 1, 0.3]]}]
    told = refusal(tmp_path, [row | {"id": n} for n, row in enumerate(rows)])
    assert re.match("row 1 field boxes: box .* looks normalised", told)


def test_arrays_are_taken_as_lists(row):
    """Case 12: in Python, boxes and labels often are arrays."""
    arrays = {"boxes": np.array([[1, 2, 3, 4]]), "labels": np.array(["4"])}
    made = Sample(**row(**arrays))
    assert made == Sample(**row(boxes=[[1, 2, 3, 4]]))


# 13: pictures that are not there.


def test_missing_pictures_are_told_before_the_work_all_at_once(data):
    """Case 13: how many, which, where, and what to do."""
    folder = data([{"image_path": f"{n}.png"} for n in range(9)], count=3)
    told = (
        "6 of 9 pictures are missing, such as '3.png', '4.png', '5.png' .looked in "
        ".*images.; add them, or take their rows out of data.json; an empty file"
    )
    with pytest.raises(FileNotFoundError, match=told):
        begin(folder)


def test_only_pictures_that_are_asked_about_must_be_there(data):
    """Case 13: those of a subset or a shard."""
    folder = data([{"image_path": f"{n}.png"} for n in range(9)], count=3)
    assert [one.id for one in begin(folder, shards=3)] == ["0", "1", "2"]
    with pytest.raises(
        FileNotFoundError, match="3 of 3 pictures are missing, such as '3"
    ):
        begin(folder, shard=1, shards=3)
    seed = next(n for n in range(99) if max(datasets.subset(9, 2, n)) < 3)
    assert len(begin(folder, limit=2, seed=seed)) == 2


def test_folder_without_pictures_is_named(data):
    """Case 13: a folder images/ that was forgotten."""
    folder = data([{"image_path": "val/7.png"}])
    shutil.rmtree(folder / "images")
    with pytest.raises(
        FileNotFoundError, match="1 of 1 pictures .*such as 'val/7.png'"
    ):
        begin(folder)


def test_pictures_are_looked_for_folder_by_folder_not_one_by_one(
    row, write_data, monkeypatch
):
    """Case 13: on a network's disk, a look at each takes minutes."""
    rows = [row(id=str(n), image_path=f"{n % 3}/{n}.png") for n in range(3000)]
    folder = write_data(rows)
    for number in range(3):
        (folder / "images" / str(number)).mkdir()
    for one in rows:
        (folder / "images" / one["image_path"]).touch()
    looks, real = [], Path.stat
    monkeypatch.setattr(Path, "stat", lambda p, **k: looks.append(p) or real(p, **k))
    assert len(begin(folder)) == 3000
    assert len(looks) < 30


def test_run_refuses_to_begin_without_its_pictures_and_leaves_nothing(
    data, results_folder, monkeypatch
):
    """Case 13: before the model is loaded."""
    monkeypatch.setattr(loop.provenance, "load", lambda _: pytest.fail("model loaded"))
    with pytest.raises(FileNotFoundError, match="1 of 1 pictures are missing"):
        loop.run(RunConfig(dataset=str(data([{}], count=0))), progress=False)
    assert not results_folder.exists()


@pytest.fixture
def config(drawn, tmp_path, random_weights, results_folder):
    """A run of six questions about three pictures."""
    folder = shutil.copytree(drawn, tmp_path / "drawn")
    return RunConfig(dataset=str(folder), max_new_tokens=1)


def change(config, changes):
    """Change rows of a run's data, by number."""
    file = Path(config.dataset) / "data.json"
    rows = json.loads(file.read_text())
    for number, fields in changes.items():
        rows[number] |= fields
    file.write_text(json.dumps(rows))


def go(config):
    return loop.run(config, progress=False)


def test_empty_file_lets_a_run_go_on_knowingly(config):
    """Case 13: its samples are recorded as failed, and the data stay the same data."""
    (Path(config.dataset) / "images" / "1.png").write_bytes(b"")
    assert [record.id for record in loop.failures(go(config))] == ["1-read", "1-color"]


def test_picture_that_vanishes_from_a_run_fails_its_samples_alone(config):
    """Case 13: a run that has begun goes on."""
    made = go(config)
    made.records_file.write_text("".join(line.text for line in [*made.lines()][:2]))
    (Path(config.dataset) / "images" / "2.png").unlink()
    assert [record.id for record in loop.failures(go(config))] == ["2-read", "2-color"]


def test_ids_that_differ_in_type_only_are_the_same(tmp_path):
    """Case 13: 7 and "7" would be one record."""
    told = refusal(tmp_path, [PLAIN | {"id": "7"}, PLAIN | {"id": 7}])
    assert re.match("row 1 field id: '7' is also row 0's", told)


def test_one_question_asked_twice_is_two_samples_of_one_picture(data):
    """Case 13: POPE asks so; what is counted by picture counts it as one."""
    first, second = begin(data([{}, {}]))
    assert (first.id, first.image_path) != (second.id, second.image_path)
    assert first.image_path == second.image_path


# 14: questions that nobody has answered.


@pytest.mark.parametrize(
    "labels", [{"labels": []}, {"labels": None}, {"labels": [""]}, {}]
)
def test_question_without_labels_is_read(tmp_path, labels):
    """Case 14: only its map or answer is wanted."""
    bare = {key: value for key, value in PLAIN.items() if key != "labels"}
    assert read(tmp_path, [bare | labels])[0].labels == ()


def of_run(config, unlabelled):
    change(config, dict.fromkeys(unlabelled, {"labels": []}))
    return go(config)


def test_unscored_sample_has_an_answer_and_neither_score_nor_error(config):
    """Case 14: the others are scored."""
    records = list(of_run(config, [0, 3]).records())
    assert [record.score is None for record in records] == [
        n in (0, 3) for n in range(6)
    ]
    assert all(record.error is None and record.answer is not None for record in records)
    assert records[0].plain_score is None and records[0].coverage is not None


@pytest.mark.parametrize("unlabelled", [[0, 3], range(6)], ids=["partly", "wholly"])
def test_run_with_unscored_samples_is_whole_verified_and_merged(config, unlabelled):
    """Case 14: for status, verify and merge it is a run as others."""
    whole = of_run(config, unlabelled)
    before = whole.records_file.read_bytes()
    assert list(checks.verify(whole)) == []
    told = checks.status(whole)
    assert (told.state, told.done, told.failed, told.missing) == ("finished", 6, 0, 0)
    shutil.rmtree(whole.folder)
    for shard in range(2):
        go(config.model_copy(update={"shard": shard, "shards": 2}))
    merged = shards.merge(config.model_copy(update={"shards": 2}))
    assert merged.records_file.read_bytes() == before


def test_scores_are_of_the_labelled_answers_and_say_how_many_are_not(config):
    """Case 14: unscored is neither wrong nor failed."""
    card = scores.card(of_run(config, [0, 3]))
    assert (card.iloc[0].n, card.iloc[0].errors, card.iloc[0].unscored) == (4, 0, 2)
    shown = scores.readable(card)
    assert shown["unscored"][0] == 2 and shown["errors"][0] == 0
    assert scores.flat(card)["unscored"][0] == 2


def test_scores_of_nothing_are_dashes(config, tmp_path):
    """Case 14: nothing is divided by zero."""
    card = scores.card(of_run(config, range(6)))
    assert (card.iloc[0].n, card.iloc[0].unscored) == (0, 6)
    assert set(scores.readable(card)["answer, %"]) == {"–"}
    assert len(scores.write(card, tmp_path / "scores")) == 3


def test_table_without_unscored_samples_has_no_column_for_them(config):
    """Case 14: as before."""
    assert "unscored" not in scores.readable(scores.card(go(config)))


def test_score_of_an_unscored_run_ends_well_on_the_command_line(config):
    """Case 14: ``vicrop score``."""
    run = of_run(config, range(6))
    done = CliRunner().invoke(app, ["score", str(run.folder)])
    assert done.exit_code == 0 and "unscored" in done.output


def test_run_of_unlabelled_questions_ends_well_on_the_command_line(config):
    """Case 14: exit status 0; nothing failed."""
    change(config, dict.fromkeys(range(6), {"labels": []}))
    words = ["run", "--dataset", config.dataset, "--max-new-tokens", "1"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0 and "failed" not in done.output


def test_summary_leaves_unscored_answers_out(config):
    """Case 14: of a run's table, they are no errors."""
    frame = results.table(of_run(config, [0, 3]))
    made = tables.summary(frame)
    assert (made.n, made.errors) == (4, 0)
    assert made.score.value == frame["score"].mean()


def test_page_of_a_run_shows_unscored_samples_as_a_sort_of_their_own(config):
    """Case 14: not among the wrong ones."""
    frame = results.table(of_run(config, range(6)))
    assert replay.examples(frame, each=2) == list(frame.index[:2])
    assert failures.diagnose(frame).empty


def test_gallery_draws_a_sample_without_label(picture, row):
    """Case 14: what was said is shown alone."""
    shown = [(picture, Answer("5", "4"), Sample(**row(labels=[])))]
    assert replay.gallery(shown).axes[1].get_xlabel() == "image alone “4”"


def test_tally_counts_failures_and_scores_apart():
    """Case 14: an unscored answer is neither."""
    tally, asked = Tally(), {"id": "a", "question": "q", "labels": ()}
    for more in ({"answer": "4"}, {"error": "x"}, {"answer": "4", "score": 1.0}):
        tally.add(Record(**asked | more))
    assert (tally.count, tally.errors) == (1, 1)


# Further inputs of these kinds.

VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            name: VALUES | st.just(PLAIN.get(name)) for name in Sample.model_fields
        },
    ),
    max_size=3,
)


@given(rows=ROWS | VALUES, cut=st.integers(0, 99))
def test_whatever_is_in_the_file_it_is_read_or_refused_in_a_line(
    tmp_path_factory, rows, cut
):
    """Case 11, further: any values in any field; files that were cut."""
    folder = tmp_path_factory.mktemp("any")
    text = json.dumps(rows).encode()
    for content in (text, text[:cut]):
        try:
            assert read(folder, content)
        except ValueError as error:
            told = str(error)
            assert "\n" not in told and len(told) < 800 + len(str(folder))


def test_name_that_no_disk_takes_is_missing(data):
    """Case 13, further: too long, of NUL, or of two lines; told in one."""
    names = ["a" * 300 + ".png", "d" * 300 + "/1.png", "a\0.png", "two\nlines.png"]
    folder = data([{"image_path": name} for name in names])
    with pytest.raises(
        FileNotFoundError, match="^4 of 4 [^\n]* missing, such as [^\n]*$"
    ):
        begin(folder)
    for sample in datasets.load(str(folder)):
        with pytest.raises(FileNotFoundError, match="sample .: no image at"):
            datasets.image_path(str(folder), sample)


@pytest.mark.parametrize(
    ("box", "told"),
    [
        ([10, 90, 30, 190], "top, left"),
        ([300, 900, 500, 990], "normalised to 0–1000"),
        ([10, 10, 3000, 20], "of another size"),
    ],
    ids=["exchanged", "thousandths", "larger"],
)
def test_box_outside_its_picture_comes_with_what_it_may_be(box, told):
    """Case 12, further: x and y exchanged; boxes of the picture at its first size."""
    with pytest.raises(ValueError, match=f"200×100 pixels by .*is it .*{told}"):
        datasets.inside(box, (200, 100))


@pytest.mark.parametrize(
    "extra", [[1, 2, 3, 4, 0.9], [1, 2, 3, 2, 3, 4, 1, 4], [[1, 2, 3, 4]]]
)
def test_box_with_a_score_or_of_a_polygon_is_named(tmp_path, extra):
    """Case 12, further: detectors add a score, OCR gives corners."""
    told = refusal(tmp_path, [PLAIN | {"boxes": [extra]}])
    assert re.match("row 0 field boxes.0.*: .*each .left, top, right, bottom.", told)


def test_unreadable_picture_is_no_reason_to_doubt_the_boxes(data):
    """Case 12, further: what cannot be opened is not judged by."""
    folder = data([{"boxes": [[1, 1, 9, 9]], "image_path": f"{n}.png"} for n in (0, 1)])
    (folder / "images" / "1.png").write_text("version https://git-lfs.github.com")
    assert len(begin(folder)) == 2


def test_link_that_leads_out_fails_its_own_sample(data, tmp_path):
    """Case 13, further: a picture linked from elsewhere is not followed."""
    folder = data([{}, {"image_path": "1.png"}])
    Image.new("RGB", (9, 9)).save(tmp_path / "1.png")
    (folder / "images" / "1.png").symlink_to(tmp_path / "1.png")
    assert len(begin(folder)) == 2
    with pytest.raises(ValueError, match="is a link that leaves images/"):
        datasets.image_path(str(folder), begin(folder)[1])


def test_row_whose_meta_has_gaps_is_read_and_recorded(tmp_path):
    """Case 11, further: NaN in meta is null in the record, which is JSON."""
    [sample] = read(tmp_path, [PLAIN | {"meta": {"year": NAN}}])
    record = Record(id="a", question="q", labels=(), meta=sample.meta, answer="4")
    assert Record.from_line(record.line()).meta == {"year": None}


def test_sizes_of_an_unscored_failed_sample_stay_in_its_group(config):
    """Case 14, further: failed and unlabelled is failed."""
    change(config, {0: {"labels": []}})
    (Path(config.dataset) / "images" / "0.png").write_bytes(b"")
    made = go(config)
    first = scores.card(made).iloc[0]
    assert first.errors == 2 and first.unscored == 0
    assert RunFolder(made.folder).meta()["errors"] == 2
