import json
import subprocess
import sys

import pytest
from PIL import ExifTags, Image

from vicrop import images
from vicrop.run import datasets
from vicrop.run.records import Sample


def many(row, count):
    return [row(id=str(number)) for number in range(count)]


def test_samples_come_in_their_order(write_data, row):
    folder = write_data(many(row, 5))
    assert [sample.id for sample in datasets.load(str(folder))] == list("01234")


def test_key_is_looked_up_in_the_data_folder(write_data, row, monkeypatch):
    folder = write_data([row()], name="plates")
    monkeypatch.setenv("VICROP_DATA", str(folder.parent))
    assert datasets.folder("plates") == folder
    assert datasets.load("plates")[0].id == "a"


def test_unknown_dataset_is_named_with_those_known():
    with pytest.raises(ValueError, match="unknown dataset 'textvqu'; known: plates"):
        datasets.load("textvqu")


def test_missing_data_names_the_command_that_makes_it(tmp_path, monkeypatch):
    monkeypatch.setenv("VICROP_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="`python -m data_prep.plates`"):
        datasets.load("plates")


def test_folder_without_data_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no data.json in .*unified format"):
        datasets.load(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not whole JSON"),
        ('[{"id": "a", "quest', "is not whole JSON"),
        ('{"id": "a"}', "must hold a list of samples, got"),
        ("[]", "must hold a list of at least one sample"),
        ('["a"]', "row 0: "),
        ("[null]", "row 0: "),
    ],
)
def test_file_of_another_form_is_refused(write_data, text, message):
    folder = write_data(text)
    with pytest.raises(ValueError, match=f"data.json.* {message}"):
        datasets.load(str(folder))


def test_file_that_is_not_utf8_is_refused(write_data, row):
    folder = write_data([row()])
    (folder / "data.json").write_bytes(b'[{"id": "\xff"}]')
    with pytest.raises(ValueError, match="is not whole JSON in UTF-8"):
        datasets.load(str(folder))


@pytest.mark.parametrize("field", ["id", "question", "image_path"])
def test_missing_field_is_named_with_file_and_row(write_data, row, field):
    bad = row(id="b")
    del bad[field]
    folder = write_data([row(), bad])
    with pytest.raises(ValueError, match=f"data.json row 1 field {field}: Field requ"):
        datasets.load(str(folder))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": ["4"]}, "field label: Extra inputs are not permitted"),
        ({"question": "  "}, "field question: .*the question is empty"),
        ({"labels": "['4']"}, "field labels: .*tuple .*got .*'4'.*Texts that count"),
        ({"labels": [4.0]}, "field labels.0: .*string .*got '4.0'"),
        ({"id": True}, "field id: .*string .*got 'True'"),
        ({"boxes": [[9, 1, 3, 4]]}, r"field boxes: .*\[9.0, 1.0, 3.0, 4.0\] is not"),
        ({"boxes": [[0, 0, 3]]}, "field boxes.0.3: Field required"),
        ({"boxes": [[0, 0, "x", 1]]}, "field boxes.0.2: .*valid number"),
        ({"boxes": [[0, 0, float("nan"), 1]]}, "field boxes: .*all finite"),
    ],
)
def test_bad_field_is_named_with_its_value(write_data, row, changes, message):
    folder = write_data([row(), row(**{"id": "b"} | changes)])
    with pytest.raises(ValueError, match=f"data.json row 1 {message}"):
        datasets.load(str(folder))


def test_error_stays_short_however_long_the_value_is(write_data, row):
    folder = write_data([row(boxes="x" * 100_000)])
    with pytest.raises(ValueError) as caught:
        datasets.load(str(folder))
    assert len(str(caught.value)) < 500


def test_duplicate_id_names_both_rows(write_data, row):
    folder = write_data([row(), row(id="b"), row()])
    with pytest.raises(ValueError, match="row 2 field id: 'a' is also row 0's"):
        datasets.load(str(folder))


@pytest.mark.parametrize("path", ["/etc/passwd", "../0.png", "a/../../0.png", ".."])
def test_image_path_may_not_leave_the_images_folder(write_data, row, path):
    folder = write_data([row(image_path=path)])
    with pytest.raises(ValueError, match="row 0 field image_path: .*leaves"):
        datasets.load(str(folder))


def test_link_that_leaves_the_images_folder_is_refused(write_data, row, tmp_path):
    folder = write_data([row()])
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    (folder / "images" / "0.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(ValueError, match="sample a: .*is a link that leaves images/"):
        datasets.image_path(str(folder), datasets.load(str(folder))[0])


def test_link_within_the_images_folder_is_followed(write_data, row, picture):
    folder = write_data([row(image_path="link.png")], [picture])
    (folder / "images" / "link.png").symlink_to("0.png")
    sample = datasets.load(str(folder))[0]
    assert datasets.image_path(str(folder), sample).name == "link.png"


def test_images_folder_may_itself_be_a_link(write_data, row, picture, tmp_path):
    folder = write_data([row()], [picture])
    (folder / "images").rename(tmp_path / "elsewhere")
    (folder / "images").symlink_to(tmp_path / "elsewhere")
    sample = datasets.load(str(folder))[0]
    assert datasets.image_path(str(folder), sample).is_file()


def test_missing_image_names_its_sample(write_data, row):
    folder = write_data([row()])
    sample = datasets.load(str(folder))[0]
    with pytest.raises(FileNotFoundError, match="sample a: no image at .*0.png"):
        datasets.image_path(str(folder), sample)


def test_limit_of_zero_or_of_more_than_all_is_all(write_data, row):
    folder = str(write_data(many(row, 5)))
    assert len(datasets.load(folder, limit=0)) == 5
    assert len(datasets.load(folder, limit=50)) == 5


def test_subset_is_the_seeds_and_keeps_the_order(write_data, row):
    folder = str(write_data(many(row, 40)))

    def ids(limit, seed):
        return [int(s.id) for s in datasets.load(folder, limit, seed)]

    assert ids(10, 0) == ids(10, 0) == sorted(ids(10, 0))
    assert len(set(ids(10, 0))) == 10
    assert ids(10, 0) != ids(10, 1)
    assert set(ids(10, 0)) < set(ids(20, 0))


def test_box_outside_its_image_is_refused(row):
    sample = Sample.model_validate(row(boxes=[[0, 0, 9, 9], [0, 0, 11, 5]]))
    with pytest.raises(ValueError, match=r"sample a: box \[0.0, 0.0, 11.0, 5.0\] leav"):
        datasets.clipped(sample, (8, 8))
    assert datasets.clipped(sample, (11, 9)) == sample


def test_object_size_is_the_first_boxs_share_of_the_image(row):
    sample = Sample.model_validate(row(boxes=[[10, 10, 30, 20], [0, 0, 100, 100]]))
    assert datasets.object_size(sample, (100, 100)) == 0.02
    assert datasets.object_size(Sample.model_validate(row()), (100, 100)) is None


def test_image_size_is_read_without_decoding(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    half = (tmp_path / "a.png").read_bytes()[:60]
    (tmp_path / "a.png").write_bytes(half)
    assert datasets.image_size(tmp_path / "a.png") == (30, 20)


def test_what_is_written_is_what_is_read(write_data, row):
    rows = [row(id="ü", question="Größe?", boxes=[[1, 2, 3, 4]], meta={"n": [1]})]
    sample = datasets.load(str(write_data(rows)))[0]
    assert json.loads(sample.model_dump_json(exclude_defaults=True)) == rows[0]


@pytest.mark.parametrize("key", datasets.MAKERS)
def test_a_data_set_that_is_not_here_comes_with_its_command(key, tmp_path, monkeypatch):
    monkeypatch.setenv("VICROP_DATA", str(tmp_path))
    with pytest.raises(
        FileNotFoundError, match=f"make it with `{datasets.MAKERS[key]}`"
    ):
        datasets.folder(key)


LARGE = """
import json, sys
from pathlib import Path
from vicrop import datasets

def row(n):
    return {
        "id": f"{n:010d}",
        "question": f"what does sign number {n} say?",
        "labels": [f"answer {n} {k % 3}" for k in range(10)],
        "image_path": f"{n % 5000:012d}.jpg",
        "boxes": [[10.5, 20.25, 110.5 + n % 100, 220]],
        "meta": {"question_id": n, "category": "other"},
    }

file = Path(sys.argv[1])
if not file.exists():
    with file.open("w") as out:
        out.write("[" + ",".join(json.dumps(row(n)) for n in range(200_000)) + "]")
    sys.exit()
samples = datasets.read(file)
[peak] = [s for s in open("/proc/self/status") if s.startswith("VmHWM")]
last = samples[-1].model_dump(exclude_defaults=True, mode="json") == row(199_999)
print(json.dumps({"rows": len(samples), "last": last, "kb": int(peak.split()[1])}))
"""


@pytest.mark.slow
def test_two_hundred_thousand_rows_are_read_in_bounded_memory(tmp_path):
    words = [sys.executable, "-c", LARGE, str(tmp_path / "data.json")]
    subprocess.run(words, check=True)  # writes it; a process of its own reads it
    told = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
    assert told["rows"] == 200_000 and told["last"]
    assert told["kb"] < 1_500_000


@pytest.mark.parametrize("turned", range(1, 9))
def test_size_is_that_of_the_upright_image(tmp_path, turned):
    picture = Image.new("RGB", (30, 20))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turned
    picture.save(tmp_path / "a.jpg", exif=exif)
    size = datasets.image_size(tmp_path / "a.jpg")
    assert size == images.load(tmp_path / "a.jpg").size
