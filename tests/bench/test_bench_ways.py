"""The ways of middling models and on the meta device, and the file they end in."""

import json

import pytest
import torch

from analysis import costs
from benchmarks import __main__ as main
from benchmarks import counting, models, plain, shortcuts, ways
from vicrop.prompts import Prompt


@pytest.mark.parametrize("family", models.KEYS)
def test_middling_models_ways_give_the_same_answers(family):
    vlm, eager = ways.both(models.mid, family)
    assert len(vlm.attention) == 8 and vlm.layer == (5 if "qwen" in family else 3)
    case = next(ways.cases(family, "mid", (224, 224), (vlm, eager), 112))
    assert case.method == "rel-att"
    ours = case.ours()
    assert case.plain() == ours == case.answers()
    assert case.told() == ours[1]
    further = case.further()
    assert further == case.ours(vlm.look(case.image), ways.OTHER)
    assert case.tokens["answer_tokens"] == ways.TOKENS


def test_real_model_is_counted_on_meta(monkeypatch):
    """InstructBLIP, the smallest prompt: the committed file's own numbers."""
    monkeypatch.setattr(Prompt, "array", staticmethod(ways._numbers))
    vlm = models.real("instructblip")
    assert vlm.device.type == "meta"
    case = next(ways.cases("instructblip", "real", ways.PHOTO, (vlm, vlm), 224))
    frame = costs.read(main.FILE).ways
    rows = frame[(frame["shape"] == "real") & (frame.family == "instructblip")]
    rows = rows[rows.method == "rel-att"].set_index(["way", "question"])
    for way, call in (("told", case.told), ("ours", case.ours)):
        found = counting.flops_on_meta(call)
        assert found.dense + found.full == rows.flops[way, "first"]
        assert found.dense + found.causal == rows.flops_causal[way, "first"]
    assert rows.text_tokens.iloc[0] == case.tokens["text_tokens"]


def test_ways_take_turns_and_the_first_round_may_warm_up():
    order = []
    calls = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    taken = ways.in_turn(calls, 2, "turns")
    assert order == ["a", "b"] * 3
    assert [len(spent) for spent in taken.values()] == [2, 2]
    assert all(spent >= 0 for row in taken.values() for spent in row)


def test_without_a_gpu_nothing_is_said_of_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert list(ways.gpu_seconds(1)) == []


def test_gpus_ways_are_timed_at_real_size(monkeypatch):
    """On stand-ins: a middling model for the GPU's, the CPU's clock for its."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(models, "on_gpu", models.mid)
    monkeypatch.setattr(models, "KEYS", {"instructblip": models.KEYS["instructblip"]})
    monkeypatch.setattr(plain, "MAPS", {"rel-att": plain.rel_att})
    monkeypatch.setattr(ways, "gpu_time", ways.seconds)
    rows = list(ways.gpu_seconds(1))
    assert [row["way"] for row in rows] == ["told", "answers", "ours", "ours", "plain"]
    assert {(row["shape"], row["device"]) for row in rows} == {("gpu", "cuda")}
    assert all(len(row["seconds"]) == 1 and row["seconds"][0] > 0 for row in rows)


def test_one_part_is_measured_anew_and_the_others_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    monkeypatch.setattr(torch, "set_flush_denormal", lambda on: None)
    rows = iter([[{"x": 1}], [{"x": 2}, {"x": 3}]])
    monkeypatch.setitem(main.PARTS, "tiles", ("tiles", lambda rounds: next(rows)))
    file = tmp_path / "found.json"
    file.write_text(json.dumps({"ways": [{"part": "real"}], "tiles": []}))
    for _ in range(2):
        main.main(only="tiles", rounds=1, out=file)
    found = json.loads(file.read_text())
    assert found["ways"] == [{"part": "real"}]
    assert found["tiles"] == [{"part": "tiles", "x": 2}, {"part": "tiles", "x": 3}]
    assert found["machine"]["torch"] == torch.__version__


def test_unknown_part_is_named(tmp_path):
    with pytest.raises(Exception, match="'speed' is none of real, seconds"):
        main.main(only="speed", out=tmp_path / "found.json")


def test_methods_are_the_matrixs():
    names = shortcuts.methods_of("tiny-llava", "plates")
    assert names[:2] == ["no-crop", "rel-att"] and len(names) == len(set(names))
