import hashlib
import zipfile

import pytest

from vicrop.run.folder import RunFolder
from vicrop.run.records import Record, RunConfig
from workflow.studies import bundle


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """One finished run of the size, one that is not, and a probe."""
    monkeypatch.setenv("VICROP_RESULTS", str(tmp_path))
    for method, done in (("rel-att", True), ("grad-att", False)):
        run = RunFolder.of(RunConfig(method=method))
        run.folder.mkdir(parents=True)
        made = Record(id="1", question="?", labels=("a",), answer="a", score=1.0)
        run.records_file.write_text(made.line())
        run.write_meta({"finished": done, "host": "mine", "seconds": 1})
    table = tmp_path / "probes" / "tiny-llava" / "zoom.csv"
    table.parent.mkdir(parents=True)
    table.write_text("id\n1\n")
    return bundle.write("embedded", tmp_path / "out" / "records.zip")


def test_finished_runs_probes_and_what_they_are_go_in(packed):
    with zipfile.ZipFile(packed) as archive:
        names = set(archive.namelist())
        meta = archive.read("runs/tiny-llava__rel-att__plates/meta.json")
    told = {"README.md", "SHA256SUMS", "studies.json", "probes/tiny-llava/zoom.csv"}
    run = {
        f"runs/tiny-llava__rel-att__plates/{n}" for n in ("meta.json", "records.jsonl")
    }
    assert names == told | run
    assert b"host" not in meta and b"seconds" in meta


def test_same_records_make_the_same_bytes_and_sums_hold(packed):
    again = bundle.write("embedded", packed.with_name("again.zip"))
    assert again.read_bytes() == packed.read_bytes()
    with zipfile.ZipFile(packed) as archive:
        for line in archive.read("SHA256SUMS").decode().splitlines():
            digest, name = line.split("  ")
            assert hashlib.sha256(archive.read(name)).hexdigest() == digest


def test_every_field_is_in_the_dictionary():
    text = bundle.dictionary("embedded")
    for name in (*Record.model_fields, *RunConfig.model_fields):
        assert f"* `{name}`: " in text
