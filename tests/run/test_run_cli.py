"""``vicrop run | merge | status | verify`` from a shell."""

import json
import shutil

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from vicrop import geometry, methods
from vicrop.run import cli as runcli
from vicrop.run import loop, progress
from vicrop.run.folder import RunFolder
from vicrop.run.records import HOW, RunConfig

pytestmark = pytest.mark.usefixtures("random_weights", "results_folder")


@pytest.fixture
def data(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "data")


@pytest.fixture
def asked(data):
    return ["--dataset", data, "--max-new-tokens", "2"]


def config(data, **changes):
    return RunConfig(dataset=str(data), max_new_tokens=2, **changes)


def test_several_methods_are_answered_together(vicrop, data, asked):
    keys = ["--method", "rel-att", "--method", "no-crop", "--method", "rel_att"]
    status, out, _ = vicrop("run", *asked, *keys)
    assert status == 0
    for method in ("rel-att", "no-crop"):
        made = RunFolder.of(config(data, method=method))
        assert str(made.records_file) in out and len(list(made.records())) == 6
    assert out.count("records: ") == 2


def test_shards_are_made_told_merged_and_verified(vicrop, data, asked):
    shards = ["--shards", "2"]
    assert vicrop("run", *asked, *shards, "--shard", "1")[0] == 0
    status, _, err = vicrop("merge", *asked, *shards)
    assert status == 2 and "shard 0-of-2: it is not finished; run the same again" in err
    assert vicrop("run", *asked, *shards, "--shard", "0", "--save-maps")[0] == 0
    status, out, _ = vicrop("status")
    assert status == 0 and out.count("finished") == 2
    status, out, _ = vicrop("merge", *asked, *shards)
    made = RunFolder.of(config(data))
    assert status == 0 and out == f"records: {made.records_file}\n"
    status, out, _ = vicrop("verify", made.folder)
    assert (status, out) == (0, f"{made.name}: 6 records, all well\n")
    status, out, _ = vicrop("status")
    assert out.count("finished") == 1


def test_verify_names_what_is_wrong_and_exits_2(vicrop, data, asked):
    vicrop("run", *asked)
    made = RunFolder.of(config(data))
    made.records_file.write_text(made.records_file.read_text()[:-5])
    status, out, err = vicrop("verify", made.folder)
    assert status == 2 and out == ""
    assert f"{made.name}: line 6: " in err
    assert vicrop("verify", "nowhere")[0] == 2


def test_notes_of_what_was_mended_are_told(vicrop, data, asked):
    vicrop("run", *asked)
    file = RunFolder.of(config(data)).records_file
    file.write_text(file.read_text().replace('"1-read"', '"1-reed"'))
    status, _, err = vicrop("run", *asked)
    assert status == 0
    assert "note: line 3 taken out: its checksum is another's" in err


def test_failed_samples_are_tried_again(vicrop, data, asked):
    picture = (data / "images/1.png").read_bytes()
    (data / "images/1.png").write_text("no picture")
    status, _, err = vicrop("run", *asked)
    assert status == 1 and "2 samples failed; see their `error`, or try them" in err
    (data / "images/1.png").write_bytes(picture)
    assert vicrop("run", *asked)[0] == 1
    assert vicrop("run", *asked, "--retry-failed")[0] == 0


def test_stopped_run_exits_with_75(vicrop, asked, monkeypatch):
    def stopped(*args, **kwargs):
        raise progress.Stopped("stopped by SIGTERM; run the same again to go on")

    monkeypatch.setattr(loop, "run_together", stopped)
    status, out, err = vicrop("run", *asked)
    assert (status, out) == (75, "")
    assert err == "vicrop: stopped by SIGTERM; run the same again to go on\n"


@pytest.mark.parametrize("size", ["0", "-1", "many", "1.5"])
def test_batch_size_that_is_none_is_refused(vicrop, asked, size):
    status, _, err = vicrop("run", *asked, f"--batch-size={size}")
    assert status == 2 and f"--batch-size is '{size}', expected 1, 2, 3, … or" in err


def test_boxes_of_another_run_are_cropped_again(vicrop, data, asked, monkeypatch):
    """No map is made; the same model says the same of the same crops."""
    from vicrop.view import View

    vicrop("run", *asked)
    first = RunFolder.of(config(data))
    monkeypatch.setattr(View, "importance", None)
    status, out, _ = vicrop("run", *asked, "--boxes-from", first.folder)
    assert status == 0
    again = RunFolder.of(config(data, boxes_from=str(first.folder)))
    assert str(again.records_file) in out
    both = zip(again.records(), first.records(), strict=True)
    for record, before in both:  # all but how clear a map is
        features = {name: before.features[name] for name in methods.OF_ANSWER}
        assert record == before.model_copy(update={"features": features})


def test_run_without_boxes_gives_none(vicrop, data, asked):
    vicrop("run", *asked, "--method", "no-crop")
    plain = RunFolder.of(config(data, method="no-crop")).folder
    status, _, err = vicrop("run", *asked, "--boxes-from", plain)
    assert status == 2 and str(plain) in err and "boxes" in err


def test_records_are_lines_of_json_that_others_can_read(vicrop, data, asked):
    vicrop("run", *asked)
    text = RunFolder.of(config(data)).records_file.read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert all(len(row["crc"]) == 8 for row in rows)


# Parameters: there and back.


def heard(arguments, *how):
    """The runs that a command with these options makes of its arguments."""
    app, told = typer.Typer(pretty_exceptions_enable=False), []

    @app.command()
    @runcli.takes_runs(*how)
    def command(configs: list[RunConfig]):
        told.extend(configs)

    said = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert said.exit_code == 0, said.output
    return told


WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=9)
COUNTS = st.integers(0, 10**6)
CHOICES = {
    "model": WORDS,
    "family": st.none() | WORDS,
    "dataset": WORDS,
    "limit": COUNTS,
    "seed": COUNTS,
    "dtype": WORDS,
    "device": WORDS,
    "layer": st.none() | COUNTS,
    "max_new_tokens": st.integers(1, 10**6),
    "fit": st.none() | st.sampled_from(geometry.FITS),
    "geometry": st.sampled_from(["exact", "upstream"]),
    "options": st.dictionaries(st.sampled_from(["max_pixels", "b"]), COUNTS),
    "boxes_from": st.none() | WORDS,
    "crop_policy": st.sampled_from(["single", "mask", "swapped"]),
    "crops": st.integers(1, 9),
    "gate": st.none() | WORDS,
    "gate_feature": st.sampled_from(methods.OF_ANSWER),
    "gate_alpha": st.floats(0.01, 0.99),
    "batch_size": st.just("auto") | st.integers(1, 99),
    "sample_timeout": st.floats(0, 1e6),
    "save_maps": st.booleans(),
    "shards": st.integers(1, 9),
}
METHODS = st.lists(
    st.sampled_from(methods.METHODS).filter(lambda method: method != "no-crop"),
    min_size=1,
    max_size=3,
    unique=True,
)


def test_every_parameter_of_a_run_is_tried():
    assert RunConfig.model_fields.keys() - CHOICES.keys() == {"method", "shard"}


@given(st.fixed_dictionaries({}, optional=CHOICES), METHODS, st.data())
def test_the_shell_makes_the_runs_that_it_is_told(given_, keys, data):
    """Every field reaches ``run``, and those that name a run ``merge``."""
    shard = data.draw(st.integers(0, given_.get("shards", 1) - 1))
    configs = [RunConfig(method=m, shard=shard, **given_) for m in keys]
    assert heard(runcli.to_arguments(configs)) == configs
    told = [*runcli.to_arguments(configs, runcli.OF_MERGE), "--shards=9"]
    merged = heard(told, runcli.OF_MERGE, ("shards",))
    assert merged == [
        config.model_copy(
            update={
                name: 9 if name == "shards" else RunConfig.model_fields[name].default
                for name in HOW
            }
        )
        for config in configs
    ]


def test_merge_must_be_told_of_how_many_shards(vicrop):
    status, _, err = vicrop("merge")
    assert status == 2 and "Missing option '--shards'" in err
