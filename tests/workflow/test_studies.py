"""The long studies: packed, refused if not whole, read and sampled again."""

import datetime
import hashlib
import io
import json
import lzma
import re
import shutil
import tarfile
from collections import Counter

import pytest
import typer
import yaml

from vicrop import methods, paths
from vicrop.run import checks, loop, results
from vicrop.run.folder import RunFolder
from vicrop.run.records import RunConfig
from workflow import clean, matrix, plans, studies
from workflow.studies import packing, remade

DAY = datetime.date(2026, 11, 28)
PLAIN = {"dataset": "plates", "max_new_tokens": 2}
BAKE_OFF = {*methods.MAPS, "no-crop", "human-crop", "random-crop", "full-twice"}
CONFIGS = [RunConfig(method=m, **PLAIN) for m in ("no-crop", "random-crop")]


@pytest.fixture(scope="session")
def answered(tmp_path_factory, drawn, saved_weights):
    """A root with data, and two runs made there and packed."""
    root = tmp_path_factory.mktemp("studies")
    shutil.copytree(drawn, root / "data" / "plates")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VICROP_DATA", str(root / "data"))
        patch.setenv("VICROP_RESULTS", str(root / "made"))
        patch.setattr(paths, "WEIGHTS", saved_weights)
        patch.setattr(paths, "ROOT", root)
        packing.pack("tiny-llava", loop.run_together(CONFIGS, progress=False))
    return root


@pytest.fixture
def place(answered, saved_weights, tmp_path, monkeypatch):
    """The same as a clone of its own."""
    root = shutil.copytree(answered, tmp_path / "clone")
    monkeypatch.setattr(paths, "ROOT", root)
    monkeypatch.setattr(paths, "WEIGHTS", saved_weights)
    monkeypatch.setenv("VICROP_DATA", str(root / "data"))
    monkeypatch.setenv("VICROP_RESULTS", str(root / "results"))
    return root


def archive(place):
    return place / "book" / "studies" / "tiny-llava.tar.xz"


def relist(place, **changes):
    """Change what is told of the archive."""
    file = archive(place).with_name("studies.json")
    told = json.loads(file.read_text())
    told["tiny-llava"] |= changes
    file.write_text(json.dumps(told))


def replaced(place, **files):
    """An archive of these files in place of the packed one, whose sum is told right."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:xz") as packed:
        for name, entry in files.items():
            packed.addfile(entry, io.BytesIO(name.encode()))
    archive(place).write_bytes(stream.getvalue())
    relist(place, sha256=hashlib.sha256(stream.getvalue()).hexdigest())


def test_what_was_packed_is_read_as_it_was_made(place, monkeypatch):
    for config in CONFIGS:
        read = studies.table("tiny-llava", config.method, **PLAIN)
        monkeypatch.setenv("VICROP_RESULTS", str(place / "made"))
        assert read.equals(results.table(RunFolder.of(config)))
        monkeypatch.setenv("VICROP_RESULTS", str(place / "results"))
        run = RunFolder(studies.unpacked() / config.run_id)
        assert list(checks.verify(run)) == []
    assert list(studies.tables("tiny-llava", "plates")) == ["no-crop", "random-crop"]
    assert studies.tables("tiny-llava", "plates-hd") == {}


def test_pages_are_told_what_was_packed(place):
    made = studies.overview().iloc[0]
    assert (made["model"], made["runs"], made["answered"]) == ("tiny-llava", 2, 12)
    assert {"seconds", "bytes", "date", "commit", "cpu", "torch"} <= set(made.index)
    assert studies.contents().loc["no-crop", "plates"] == 6


def test_archive_is_the_same_bytes_again_and_tells_no_machine(place, monkeypatch):
    before = archive(place).read_bytes()
    monkeypatch.setenv("VICROP_RESULTS", str(place / "made"))
    packing.pack("tiny-llava", map(RunFolder.of, reversed(CONFIGS)))
    assert archive(place).read_bytes() == before
    text = lzma.decompress(before).decode()
    assert str(place) not in text and "host" not in text and "/tmp" not in text
    assert str(place) not in archive(place).with_name("studies.json").read_text()


def test_names_of_other_runs_are_packed_without_their_folders(place, monkeypatch):
    monkeypatch.setenv("VICROP_RESULTS", str(place / "made"))
    other = RunFolder.of(CONFIGS[1])
    config = RunConfig(method="no-crop", boxes_from=str(other.folder), **PLAIN)
    run = loop.run(config, progress=False)
    packing.pack("tiny-llava", [run])
    text = lzma.decompress(archive(place).read_bytes()).decode()
    assert str(place) not in text and f'"boxes_from": "{other.name}"' in text


def test_unfinished_or_changed_run_is_not_packed(place, monkeypatch):
    monkeypatch.setenv("VICROP_RESULTS", str(place / "made"))
    run, before = RunFolder.of(CONFIGS[0]), archive(place).read_bytes()
    text = run.records_file.read_text()
    run.records_file.write_text(text[: text.index("\n") + 1])
    with pytest.raises(ValueError, match="cannot be packed: .*records.jsonl changed"):
        packing.pack("tiny-llava", [run])
    run.write_meta(run.meta() | {"finished": False})
    with pytest.raises(ValueError, match="it is not finished"):
        packing.pack("tiny-llava", [run])
    assert archive(place).read_bytes() == before


def test_archives_that_become_too_large_are_not_written(place, monkeypatch):
    monkeypatch.setenv("VICROP_RESULTS", str(place / "made"))
    monkeypatch.setattr(packing, "LARGEST", 10)
    archive(place).unlink()
    with pytest.raises(ValueError, match=r"bytes, more than 10$"):
        packing.pack("tiny-llava", map(RunFolder.of, CONFIGS))
    assert not archive(place).exists()


def test_nothing_packed_is_told_with_the_command(place, stops):
    shutil.rmtree(archive(place).parent)
    with pytest.raises(FileNotFoundError, match="`make studies`$"):
        studies.unpacked()
    assert "cannot be read: no " in stops(lambda: remade.main(1, ""))


def test_run_that_is_not_among_the_studies_is_told_with_the_command(place):
    with pytest.raises(FileNotFoundError, match="no run .*full-twice.*`make studies`"):
        studies.table("tiny-llava", "full-twice", **PLAIN)


@pytest.mark.parametrize("spoil", [lambda b: b[:-9], lambda b: b[:60] + b"x" + b[61:]])
def test_torn_or_changed_archive_is_refused(place, spoil):
    archive(place).write_bytes(spoil(archive(place).read_bytes()))
    with pytest.raises(ValueError, match="is not what was packed; .*`make studies`"):
        studies.unpacked()


LEAVING = ["../records.jsonl", "/records.jsonl", "a/../../meta.json", "..", "a/other"]


@pytest.mark.parametrize("name", LEAVING)
def test_archive_cannot_write_elsewhere(place, name):
    replaced(place, x=tarfile.TarInfo(name))
    with pytest.raises(ValueError, match=re.escape(f"holds {name!r}, no file of a")):
        studies.unpacked()
    assert [one.name for one in (place / "results" / "studies").iterdir()] == [".lock"]


def test_archive_with_a_link_is_refused(place):
    link = tarfile.TarInfo("a/records.jsonl")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    replaced(place, x=link)
    with pytest.raises(ValueError, match="no file of a run"):
        studies.unpacked()


def test_records_that_were_changed_after_unpacking_are_refused(place):
    file = studies.unpacked() / CONFIGS[0].run_id / "records.jsonl"
    file.write_text(file.read_text() + "{}\n")
    with pytest.raises(ValueError, match="records.jsonl changed after it was made"):
        studies.table("tiny-llava", "no-crop", **PLAIN)


def test_other_weights_than_those_that_answered_are_refused(place):
    relist(place, weights=["0" * 64])
    with pytest.raises(ValueError, match="tiny-llava here has other weights .*MODEL="):
        studies.unpacked()


def test_sample_made_again_is_the_same_and_told(place):
    remade.main(count=5, day=DAY.isoformat())
    told, answers = remade.last()
    assert (told["n"], told["date"]) == (5, "2026-11-28")
    assert len(answers) == 5 and set(answers["run"]) <= {c.run_id for c in CONFIGS}


def test_samples_of_two_days_differ_and_of_one_are_the_same(place):
    drawn = [
        [(run.name, record.id) for run, record in remade.drawn(4, seed)]
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    every = remade.drawn(99, 0)
    assert len({(run.name, record.id) for run, record in every}) == len(every) == 12


def test_changed_answer_is_found_and_ends_the_build(place, stops):
    run = RunFolder(studies.unpacked() / CONFIGS[1].run_id)
    records = list(run.records())
    changed = [records[0].model_copy(update={"answer": "Z"}), *records[1:]]
    run.records_file.write_text("".join(record.line() for record in changed))
    run.write_meta(run.meta() | {"records": run.seal()})
    said = stops(lambda: remade.main(count=99, day=""))
    assert f"{run.name}, {records[0].id}: answer was 'Z', is " in said
    assert said.endswith("make them anew: `make studies`\n")
    assert not remade.file().exists()


def test_other_data_are_found(place, stops):
    file = place / "data" / "plates" / "data.json"
    file.write_text(file.read_text() + "\n")
    assert ": other data than here" in stops(lambda: remade.main(1, ""))


def test_no_sample_needs_no_archive(place):
    shutil.rmtree(archive(place).parent)
    remade.main(count=0, day="")
    assert remade.last()[0]["n"] == 0


@pytest.fixture
def stops(capsys):
    """What is said where a call ends with status 2."""

    def call(made):
        with pytest.raises(typer.Exit) as caught:
            made()
        assert caught.value.exit_code == 2
        return capsys.readouterr().err

    return call


def test_gate_is_named_by_the_data_of_its_calibration(tmp_path):
    gated = {"method": "rel-att", "gate": "plates-val", "gate_alpha": 0.2}
    block = {"models": ["tiny-llava"], "datasets": {"plates": [gated]}, "fit": "pad"}
    file = tmp_path / "matrix.yaml"
    file.write_text(yaml.safe_dump({"s": {"runs": [block]}}))
    (run,), _ = matrix.chosen(file, "s")
    calibration = RunConfig(method="rel-att", dataset="plates-val", fit="pad")
    assert run.gate == str((paths.runs() / calibration.run_id).resolve())
    assert (run.gate_alpha, run.dataset) == (0.2, "plates")


def runs_of(size):
    return matrix.chosen(plans.MATRIX, size)[0]


def test_every_gate_of_the_studies_is_calibrated_there_on_validation_data():
    runs = {config.run_id: config for config in runs_of("studies")}
    gated = [config for config in runs.values() if config.gate]
    assert len(gated) == 2 * 4
    for config in gated:
        other = runs[config.gate.rpartition("/")[2]]
        assert (other.model, other.method) == (config.model, config.method)
        assert (other.dataset, config.dataset) == ("plates-val", "plates")


def test_studies_are_every_map_policy_and_control_and_other_seeds():
    runs = runs_of("studies")
    plain = [c for c in runs if c.crop_policy == "single" and not c.gate]
    of = Counter((config.model, config.dataset) for config in plain)
    four = {config.model for config in plain if config.dataset == "plates-hd"}
    data = ("plates", "plates-hd", "plates-wide")
    assert len(four) == 4
    counts = {name: {of[model, name] for model in four} for name in data}
    every = len(BAKE_OFF)  # occlusion is of plates alone
    assert counts == dict(zip(data, ({every}, {every - 1}, {every - 1}), strict=True))
    assert {of[model, "plates-val"] for model in four} == {2}
    seeds = ("tiny-llava-unmasked-2", "tiny-llava-unmasked-3")
    assert {of[seed, "plates"] for seed in seeds} == {6}
    assert {config.crop_policy for config in runs} == set(methods.POLICIES)
    tokens = [c.model for c in runs if c.crop_policy == "same-tokens"]
    assert tokens == ["tiny-qwen2.5-vl"] * 4


def test_bake_off_of_real_models_has_every_map_of_the_studies():
    runs = runs_of("bake-off")
    assert {config.method for config in runs} == BAKE_OFF
    assert len(runs) == 4 * 2 * len(BAKE_OFF) == 168
    assert {config.limit for config in runs if config.dataset == "vstar"} == {0, 60}


def test_clean_takes_away_what_was_unpacked(place):
    unpacked = studies.unpacked()
    days = paths.runs() / "llava-1.5-7b__rel-att__textvqa"
    days.mkdir(parents=True)
    clean.clean(paths.results(), place / "executed", ours=set())
    assert days.exists() and not unpacked.exists() and archive(place).exists()


def test_clean_takes_away_the_probes_of_our_models_alone(place):
    kept, gone = (
        paths.results() / "probes" / f"{model}__data__hash"
        for model in ("llava-1.5-7b", "tiny-llava")
    )
    marker = paths.results() / "work" / "probes" / "tiny-llava.done"
    for folder in (kept, gone, marker.parent, paths.runs() / "llava-1.5-7b__x__y"):
        folder.mkdir(parents=True)
    marker.touch()
    clean.clean(paths.results(), place / "executed", ours=set())
    assert kept.exists() and not gone.exists() and not marker.exists()
