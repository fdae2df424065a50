"""What people bring as a model: keys, folders, hub ids, and what is none of these."""

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import twins
from PIL import Image
from torch import nn

import vicrop
from embedded import instructblip
from vicrop import adapters, attribution, boxes, paths, pipeline
from vicrop.adapters import MODELS, conformance
from vicrop.adapters.instructblip import InstructBlip
from vicrop.run import loop
from vicrop.run.folder import RunFolder
from vicrop.run.records import RunConfig
from workflow import matrix, plans

QUESTION = "what digit is on the red plate?"
LINEAR = "model.language_model.layers.0.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def twin():
    """A small random LLaVA of six layers, and its processor."""
    return twins.make("llava-1.5-7b")


@pytest.fixture(scope="module")
def saved(twin, tmp_path_factory):
    """A folder with it, as somebody's own fine-tune is saved."""
    folder = tmp_path_factory.mktemp("mine") / "checkpoint"
    for part in twin:
        part.save_pretrained(folder)
    return folder


@pytest.fixture
def changed(saved, tmp_path):
    """Copies that folder, without files of some patterns and with others."""

    def make(without=(), config=None, **files):
        folder = shutil.copytree(saved, tmp_path / "changed")
        for pattern in without:
            for file in folder.glob(pattern):
                file.unlink()
        if config is not None:
            whole = json.loads((saved / "config.json").read_text()) | config
            (folder / "config.json").write_text(json.dumps(whole))
        for name, text in files.items():
            file = folder / name.replace("__", "/").replace("_DOT_", ".")
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        return folder

    return make


@pytest.fixture
def photo(picture, tmp_path):
    file = tmp_path / "photo.png"
    picture.resize((140, 84)).save(file)
    return file


# Where a model comes from.


def test_folder_says_its_own_family_and_layer(saved):
    """Case 21: six layers, so the map's is as deep as 14 of 32."""
    vlm = vicrop.load(saved)
    assert (vlm.family, vlm.layer) == ("llava", round(14 * 6 / 32))
    assert vicrop.load(str(saved), family="llava", layer=1).layer == 1


@pytest.mark.parametrize("family", ["qwen2.5-vl", "instructblip"])
def test_family_that_is_said_must_be_the_folders(saved, family):
    """Case 21."""
    with pytest.raises(ValueError, match="which is of family 'llava'"):
        vicrop.load(saved, family=family)


def test_family_of_a_key_must_be_its_own(random_weights):
    """Case 21: it was not looked at."""
    with pytest.raises(ValueError, match="unknown family 'qwen2.5-vl'; known: llava"):
        vicrop.load("tiny-llava", family="qwen2.5-vl")


def test_registered_layer_is_as_deep_in_the_usual_model():
    """Case 21: one rule for models with and without a key."""
    for family in adapters.FAMILIES.values():
        assert family.layer_in(family.depth) == family.layer
        assert [family.layer_in(depth) for depth in (1, 2)] in ([0, 0], [0, 1])


def test_folder_runs_from_the_shell(saved, drawn, vicrop, results_folder):
    """Case 21: ``vicrop run --model FOLDER``, verified with its weights."""
    args = ("--dataset", drawn, "--limit", "1", "--method", "no-crop")
    status, out, err = vicrop("run", "--model", saved, *args)
    assert status == 0 and "records: " in out
    assert err.splitlines()[-1] == (
        "note: maps are of layer 3, as deep as the family's; --layer takes another"
    )
    (folder,) = (results_folder / "runs").iterdir()
    assert RunFolder(folder).meta()["layer"] == 3
    status, out, err = vicrop("verify", "--weights", folder)
    assert (status, err) == (0, "") and "1 records, all well" in out


def test_shell_takes_a_folders_family_and_layer_alike(saved, photo, vicrop):
    """Case 21: ``answer`` as ``run``."""
    asked = ("answer", photo, QUESTION, "--model", saved)
    status, out, err = vicrop(*asked, "--layer", "2", "--family", "llava")
    assert (status, err) == (0, "") and out.startswith("without a crop: ")
    assert vicrop(*asked)[2].startswith("note: maps are of layer 3, as deep as the")
    status, _, err = vicrop(*asked, "--family", "idefics3")
    assert status == 2 and err.endswith("which is of family 'llava'\n")


def test_run_takes_its_family_from_its_parameters(saved, drawn, results_folder):
    """Case 21."""
    config = RunConfig(model=str(saved), family="idefics3", dataset=str(drawn), limit=1)
    with pytest.raises(ValueError, match="which is of family 'llava'"):
        loop.run(config, progress=False)


def test_folder_may_stand_in_a_plan(saved, tmp_path):
    """Case 21: what it takes, what it depends on, and whether it is here."""
    (tmp_path / "matrix.yaml").write_text(
        f"own: {{runs: [{{models: [{saved}], datasets: {{plates: [no-crop]}}}}]}}"
    )
    ((config,), _) = matrix.chosen(tmp_path / "matrix.yaml", "own")
    weights = saved / "model.safetensors"
    assert plans.inputs(config)[1:] == [str(weights)]
    size_gb = weights.stat().st_size / 1e9
    assert plans.memory_mb(config) == 2000 + int(1200 * size_gb)
    assert [m for m in plans.needs([config]).missing if m.startswith("model")] == []
    gone = config.model_copy(update={"model": "/gone/llava"})
    assert "model /gone/llava: no weights in /gone/llava" in str(plans.needs([gone]))


def test_hub_id_of_a_key_is_that_key():
    """Case 21: with its pinned commit, layer and options."""
    for key, spec in MODELS.items():
        if spec.folder is None:
            assert adapters.find(spec.source) is spec is adapters.find(key)


def test_hub_id_without_a_key_is_looked_for_on_the_hub():
    """Case 21."""
    with pytest.raises(FileNotFoundError, match="me/llava-mine is not here and could"):
        vicrop.load("me/llava-mine")


@pytest.mark.parametrize("name", [None, 3, "", ["tiny-llava"], "a/b/c", "tiny-lava"])
def test_name_of_nothing_is_told_what_a_name_may_be(name):
    """Case 21, and 28."""
    with pytest.raises(ValueError, match="known: tiny-llava.*folder that is here, or"):
        vicrop.load(name)


def test_web_address_is_no_name():
    """Ours, as case 21: what a browser shows is pasted."""
    with pytest.raises(ValueError, match=r"or a hub id \(owner/name\)"):
        vicrop.load("https://hub.example/llava-hf/llava-1.5-7b-hf")


def test_folder_in_the_home_may_be_told_by_a_tilde(saved, monkeypatch):
    """Ours, as case 21: no vicrop expands it in Python."""
    monkeypatch.setenv("HOME", str(saved.parent))
    assert vicrop.load("~/checkpoint").layer == 3


# What a tiny model reads.


def test_tiny_model_says_that_it_reads_drawn_plates_only(vicrop, photo, random_weights):
    """Case 22: one line, beside the answer."""
    status, out, err = vicrop("answer", photo, "is there a cup?")
    assert status == 0 and out.startswith("without a crop: ")
    (line,) = err.splitlines()
    assert line.startswith("note: tiny-llava reads drawn plates only; for other pict")
    assert "--model llava-1.5-7b or " in line and "tiny-qwen" not in line


def test_tiny_model_says_nothing_of_what_it_reads(
    vicrop, photo, random_weights, tmp_path
):
    """Case 22: a picture is known by the folders that it lies in."""
    drawn = tmp_path / "plates-hd" / "images" / "0.png"
    drawn.parent.mkdir(parents=True)
    shutil.copy(photo, drawn)
    assert vicrop("answer", drawn, QUESTION)[2] == ""
    assert [adapters.registry.unread("tiny-llava", "plates-wide")] == [""]
    assert adapters.registry.unread("llava-1.5-7b", photo) == ""


def test_tiny_model_says_so_of_a_data_set(
    vicrop, drawn, random_weights, results_folder
):
    """Case 22."""
    args = ("--dataset", drawn, "--limit", "1", "--method", "no-crop")
    status, _, err = vicrop("run", *args)
    assert status == 0 and err.splitlines()[-1].startswith("note: tiny-llava reads dra")


def test_registry_line_alone_says_what_a_model_reads():
    """Case 22: that of every embedded model, and of no other."""
    reads = {key: bool(spec.reads) for key, spec in MODELS.items()}
    assert reads == {key: spec.folder is not None for key, spec in MODELS.items()}


# What cannot be used, and what can.

INSTEAD = {
    "LoRA": (["model*"], {"adapter_config_DOT_json": "{}"}, "merge_and_unload"),
    "GGUF": (["*"], {"model-q4_k_DOT_gguf": ""}, "quantised for llama.cpp; take the"),
    "pickles": (["model*"], {"pytorch_model_DOT_bin": ""}, "writes safetensors"),
    "training": (
        ["*"],
        {"checkpoint-500__config_DOT_json": "{}", "checkpoint-90__a": ""},
        "checkpoint-500, checkpoint-90: a training's",
    ),
    "models": (["*"], {"llava__config_DOT_json": "{}"}, "folders of their own; name"),
    "weights alone": (["config.json"], {}, "model.safetensors: a model without its"),
    "configuration alone": (["model*"], {}, r"and its processor \(no model\*\.safete"),
    "nothing": (["*"], {}, r"and its processor \(no config.json\)"),
    "no processor": (["*processor*"], {}, r"AutoProcessor.*\.save_pretrained\(folder"),
    "no tokenizer": (["tokenizer*"], {}, r"AutoProcessor.*\.save_pretrained\(folder"),
    "finished training": (
        ["*processor*"],
        {"checkpoint-500__config_DOT_json": "{}"},
        "model.safetensors: a model without its .* processor",
    ),
}


@pytest.mark.parametrize("kind", INSTEAD)
def test_folder_that_holds_something_else_says_what_it_is(changed, kind):
    """Case 23."""
    without, files, said = INSTEAD[kind]
    with pytest.raises(FileNotFoundError, match=said):
        vicrop.load(changed(without, **files))


def test_cache_of_the_hub_is_told_from_a_model(tmp_path):
    """Ours, as case 23: the folder above the snapshot is named."""
    snapshot = tmp_path / "models--me--llava" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    with pytest.raises(
        FileNotFoundError, match="snapshots/abc/config.json: a cache of"
    ):
        vicrop.load(tmp_path / "models--me--llava")


def test_file_in_place_of_its_folder_is_refused(saved):
    """Ours, as case 23."""
    with pytest.raises(
        FileNotFoundError, match="model.safetensors does not hold a model"
    ):
        vicrop.load(saved / "model.safetensors")


CONFIGS = {
    "original LLaVA": (
        {"model_type": "llava_llama", "architectures": ["LlavaLlamaForCausalLM"]},
        "as the original LLaVA code saves it; take weights converted",
    ),
    "text alone": (
        {"model_type": "llama", "architectures": ["LlamaForCausalLM"]},
        "a language model by its name",
    ),
    "unknown": (
        {"model_type": "my_vlm", "architectures": ["MyVLM"], "auto_map": {}},
        "a MyVLM, which is of no family here; the page 'Add a model'",
    ),
    "newer than we": (
        {"model_type": "qwen9_vl", "architectures": None},
        "a qwen9_vl, which is of no family here",
    ),
    "AWQ": ({"quantization_config": {"quant_method": "awq"}}, "quantised .*awq"),
    "GPTQ": ({"quantization_config": {"quant_method": "gptq"}}, "quantised .*gptq"),
    "bitsandbytes of before": (
        {"quantization_config": {"load_in_8bit": True}},
        "quantised .*load_in_8bit.*take the weights that they were made from",
    ),
    "no type": ({"model_type": None, "architectures": None}, "of no family here"),
}


def test_configuration_that_is_no_object_is_refused(changed):
    """Ours, as case 23: it was an AttributeError."""
    with pytest.raises(ValueError, match="of no family here"):
        vicrop.load(changed(config_DOT_json="[]"))


@pytest.mark.parametrize("kind", CONFIGS)
def test_checkpoint_that_cannot_be_used_says_why(changed, kind):
    """Case 23: before its weights are read, whatever family was said."""
    config, said = CONFIGS[kind]
    folder = changed(config=config)
    (folder / "model.safetensors").write_bytes(b"torn")
    for family in (None, "llava"):
        with pytest.raises(ValueError, match=said):
            vicrop.load(folder, family=family)


class PeftModel(nn.Module):
    """Looks as peft's does: a model around the model."""

    def __init__(self, model):
        super().__init__()
        self.base_model, self.config, self.peft_config = model, model.config, {}


class OptimizedModule(PeftModel):
    """Looks as what torch.compile returns."""


def test_wrapped_models_say_how_they_are_unwrapped(twin, vlm):
    """Case 23; DataParallel, torch.compile and swapped arguments are ours."""
    model, processor = twin
    for given, said in {
        PeftModel(model): "wrap what its merge_and_unload",
        nn.DataParallel(model): "wrap its .module",
        OptimizedModule(model): "torch.compile made; wrap the model as it was",
        vlm: "which is wrapped already",
        processor: "the model comes first",
        "llava-1.5-7b": "vicrop.load takes keys, folders and hub ids",
    }.items():
        with pytest.raises(ValueError, match=said):
            vicrop.wrap(given, processor)


class Quantised:
    """Looks as bitsandbytes' configuration does."""

    quant_method = "bitsandbytes"


def of_config(model):
    model.config.quantization_config = Quantised()


def of_bytes(model):
    """As bitsandbytes packs four bits."""
    linear = model.get_submodule(LINEAR.removesuffix(".weight"))
    packed = torch.zeros(8, 1, dtype=torch.uint8)
    linear.weight = nn.Parameter(packed, requires_grad=False)


def of_two_devices(model):
    model.hf_device_map = {"model.vision_tower": 0, "lm_head": 1}


def of_a_disk(model):
    model.hf_device_map = {"": "disk"}


def of_no_device(model):
    model.lm_head.to("meta")


PLACES = {
    of_config: r"quantised \(bitsandbytes\), but .*model.dequantize\(\) first",
    of_bytes: "weights are float32, uint8, but",
    of_two_devices: r"several devices or none \(0, 1\).*without device_map",
    of_a_disk: r"several devices or none \(disk\)",
    of_no_device: r"several devices or none \(cpu, meta\)",
}


@pytest.mark.parametrize("change", PLACES, ids=lambda change: change.__name__)
def test_model_in_memory_is_refused_as_a_checkpoint_is(twin, change):
    """Case 23: with what it is and how it can be made to work."""
    model = copy.deepcopy(twin[0])
    change(model)
    with pytest.raises(ValueError, match=PLACES[change]):
        vicrop.wrap(model, twin[1])


def test_model_that_one_device_holds_is_taken(twin):
    """Case 23: a device map that names one device."""
    model = copy.deepcopy(twin[0])
    model.hf_device_map = {"": "cpu"}
    assert vicrop.wrap(model, twin[1]).layer == 3


@pytest.fixture
def rewritten(changed):
    """A folder whose weights were changed."""
    from safetensors.torch import load_file, save_file

    def make(change):
        folder = changed()
        weights = load_file(folder / "model.safetensors")
        save_file(change(weights), folder / "model.safetensors", {"format": "pt"})
        return folder

    return make


def without_a_layer(weights):
    return {name: w for name, w in weights.items() if "layers.4." not in name}


def with_adapters_inside(weights):
    return {
        name.replace("q_proj.", "q_proj.base_layer."): weights[name] for name in weights
    }


def of_another_shape(weights):
    return {n: w[:4].clone() if "lm_head" in n else w for n, w in weights.items()}


@pytest.mark.parametrize(
    "change", [without_a_layer, with_adapters_inside, of_another_shape]
)
def test_weights_that_lack_a_part_are_refused(rewritten, change, capfd):
    """Ours, as case 23: what lacks was random, and the model answered."""
    with pytest.raises(
        ValueError, match="lacks .* of the model's weights in their shape, as"
    ):
        vicrop.load(rewritten(change))
    assert "LOAD REPORT" not in "".join(capfd.readouterr())


# What is not a number.


@pytest.mark.parametrize(
    "key", ["llava-1.5-7b", "instructblip-vicuna-7b", "qwen2.5-vl-3b"]
)
def test_scores_that_are_not_finite_are_an_error_with_the_dtype(key, picture):
    """Case 24: plain answers and every map, where float16 overflows; no answer "!"."""
    small = {"max_pixels": 20 * 28 * 28} if "qwen" in key else {}
    vlm = twins.wrap(key, **small)
    vlm.model.half()
    with torch.no_grad():
        vlm.attention[-1].v_proj.weight.mul_(3e4)
        vlm.text_model.layers[0].mlp.up_proj.weight.mul_(3e4)
    view = vlm.look(picture)
    said = "not finite in torch.float16, .*; load it in bfloat16 or float32"
    with pytest.raises(ValueError, match=said):
        view.ask(QUESTION, max_new_tokens=2)
    for method in attribution.MAPS:
        if method != "center-prior":  # which asks no model
            with pytest.raises(ValueError, match=said):
                vlm.look(picture).importance(QUESTION, method)


def test_one_weight_that_is_no_number_is_an_error(saved, picture):
    """Ours, as case 24: a fine-tune that diverged."""
    vlm = vicrop.load(saved)
    with torch.no_grad():
        vlm.head.weight[3, 5] = torch.nan
    with pytest.raises(ValueError, match="scores are not finite in torch.float32"):
        vlm.look(picture).ask(QUESTION)


# Whether facts are true.


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("seed", [0, 1])
def test_check_passes_an_untrained_instructblip(seed, dtype):
    """Case 25: its queries are all zero, and take the mean of an image's patches."""
    torch.manual_seed(seed)
    config = instructblip.config()
    model = InstructBlip.architecture(config).to(dtype)
    model.generation_config.eos_token_id = config.text_config.eos_token_id
    assert not model.query_tokens.any()
    vlm = adapters.wrap(model, instructblip.processor(), "instructblip", layer=0)
    conformance.check(vlm).raise_if_failed()


@pytest.mark.parametrize("colour", ["white", "#f0f0f0", "black"])
def test_check_takes_pictures_of_one_colour(colour):
    """Ours, as case 25: a white square on white is none."""
    vlm = adapters.load("tiny-llava")
    conformance.check(vlm, Image.new("RGB", (300, 200), colour)).raise_if_failed()


# Figures.


@pytest.fixture
def never_loaded(monkeypatch):
    def load(*args, **kwargs):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(adapters.loading, "load", load)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gone/look.png", "gone/look.png cannot be written; is its folder there"),
        ("look.foo", "look.foo: 'foo'; known: "),
        ("look.v2", "known: "),
        ("folder.png", "folder.png cannot be written"),
    ],
)
def test_figure_that_cannot_be_written_is_refused_before_the_work(
    vicrop, photo, tmp_path, never_loaded, name, said
):
    """Case 20."""
    (tmp_path / "folder.png").mkdir()
    args = ("answer", photo, QUESTION, "--save-figure", tmp_path / name)
    status, out, err = vicrop(*args)
    assert (status, out) == (2, "") and said in err and err.count("\n") == 1


def test_figure_without_an_ending_says_what_was_written(
    vicrop, photo, tmp_path, random_weights
):
    """Case 20."""
    _, out, _ = vicrop("answer", photo, QUESTION, "--save-figure", tmp_path / "rec")
    assert out.splitlines()[-1] == f"figure: {tmp_path / 'rec.png'}"
    assert (tmp_path / "rec.png").is_file() and not (tmp_path / "rec").exists()


# The Python API.


@pytest.mark.parametrize("most", [0, -1, 1.5, True, "3", None])
def test_number_of_tokens_is_a_whole_number(view, vlm, picture, most):
    """Case 28."""
    for ask in (
        view.ask,
        lambda *a, **k: pipeline.ViCrop(vlm).answer(picture, *a, **k),
    ):
        with pytest.raises(ValueError, match=f"max_new_tokens is {most!r}, expected a"):
            ask(QUESTION, max_new_tokens=most)


def test_numpys_whole_numbers_are_whole_numbers(vlm, view):
    """Case 28."""
    asked = view.ask(QUESTION, tuple(np.array([0, 0, 90, 90])), np.int64(2))
    assert asked == view.ask(QUESTION, np.array([0, 0, 90, 90]), 2)
    assert asked.box == (0, 0, 90, 90) and type(asked.box.left) is int
    assert type(adapters.wrap(vlm.model, layer=np.int64(1)).layer) is int


@pytest.mark.parametrize("layer", [1.5, "3", -1, 2.0, [2]])
def test_layer_is_one_of_the_models(vlm, random_weights, layer):
    """Case 28."""
    for make in (
        lambda: adapters.wrap(vlm.model, layer=layer),
        lambda: adapters.load("tiny-llava", layer=layer),
    ):
        with pytest.raises(ValueError, match="is not one of this model's layers, co"):
            make()


@pytest.mark.parametrize("question", [None, b"what?", ["what?"], 3, float("nan")])
def test_question_is_text(vlm, view, picture, question):
    """Case 28."""
    crop = pipeline.ViCrop(vlm)
    for ask in (view.ask, view.importance, lambda q: crop.answer(picture, q)):
        with pytest.raises(ValueError, match=r"expected text \(a str\)"):
            ask(question)


@pytest.mark.parametrize("method", [None, ["rel-att"], 3, "look", b"rel-att"])
def test_method_is_one_of_those_known(vlm, view, picture, method):
    """Case 28."""
    crop = pipeline.ViCrop(vlm)
    for ask in (
        lambda: crop.answer(picture, QUESTION, method),
        lambda: view.importance(QUESTION, method),
        lambda: attribution.compute(method, vlm, {}),
    ):
        with pytest.raises(ValueError, match="unknown (method|map) .*; known: rel-att"):
            ask()


@pytest.mark.parametrize(
    "crop", [(1, 2, 3), (1.5, 2, 90, 90), "abcd", 5, (1, 2, 90, "x"), (9, 9, 9, 20)]
)
def test_crop_is_four_whole_numbers(view, crop):
    """Case 28."""
    with pytest.raises(ValueError, match="is no box: expected left < right and top <"):
        view.ask(QUESTION, crop)


@pytest.mark.parametrize(
    "size", [(448,), 448, (448, 448, 3), (0, 5), (9.5, 9), "ab", None]
)
def test_box_is_selected_in_an_image_of_two_sides(size):
    """Case 28."""
    with pytest.raises(ValueError, match="is no box: expected left < right and top <"):
        boxes.select_box(np.ones((3, 4)), size, 2)


@pytest.mark.parametrize("crop_px", [0, -5, 1.5, "3", None])
def test_window_is_some_whole_pixels_wide(crop_px):
    """Case 28."""
    with pytest.raises(ValueError, match=f"crop_px is {crop_px!r}, expected a whole n"):
        boxes.select_box(np.ones((3, 4)), (90, 90), crop_px)


@pytest.mark.parametrize("values", ["x", [["a"]], np.ones((2, 2), complex), None])
def test_map_is_numbers(values):
    """Case 28."""
    with pytest.raises(ValueError, match="an importance map must be numbers, got"):
        boxes.select_box(values, (90, 90), 9)


def test_array_of_a_map_is_its_values(view):
    """Case 28: with numpy's own arguments."""
    amap = view.importance(QUESTION)
    assert np.shares_memory(np.asarray(amap), amap.values)
    assert not np.shares_memory(np.array(amap), amap.values)
    assert np.asarray(amap, np.float64).dtype == np.float64
    assert np.asarray(amap, copy=True).sum() == amap.values.sum()


@pytest.mark.parametrize("dtype", [torch.bfloat16, "torch.bfloat16", "bfloat16"])
def test_dtype_may_be_torchs(random_weights, dtype):
    """Case 28; a device too."""
    vlm = vicrop.load("tiny-llava", dtype=dtype, device=torch.device("cpu"))
    assert vlm.dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float64, np.float32, None, "bf16", []])
def test_dtype_is_one_of_those_known(dtype):
    """Case 28."""
    with pytest.raises(ValueError, match="unknown dtype .*; known: float32, float16"):
        vicrop.load("tiny-llava", dtype=dtype)


@pytest.mark.parametrize("device", ["", "meta", {}, torch.device("meta")])
def test_device_is_one_that_computes(random_weights, device):
    """Case 28; ``meta`` is ours: what it holds are no numbers."""
    with pytest.raises(ValueError, match="device .*(cannot be used here|no numbers)"):
        vicrop.load("tiny-llava", device=device)


@pytest.mark.parametrize("family", [None, 3, ["llava"], "blip"])
def test_family_in_memory_is_one_of_those_known(vlm, family):
    """Case 28."""
    with pytest.raises(ValueError, match="unknown family .*; known: llava, instructb"):
        vicrop.wrap(vlm.model, family=family)


@pytest.mark.parametrize("value", ["big", 1.5, -1, True, None])
def test_option_is_a_whole_number(value):
    """Case 28."""
    with pytest.raises(ValueError, match=f"max_pixels is {value!r}, expected a whole"):
        vicrop.load("tiny-qwen2.5-vl", max_pixels=value)


def test_vicrop_takes_a_loaded_model(vlm, view, picture):
    """Ours, as case 28: a key, and a view of another model."""
    with pytest.raises(ValueError, match="takes what vicrop.load gives, got 'tiny-lla"):
        pipeline.ViCrop("tiny-llava")
    other = adapters.wrap(vlm.model, vlm.processor, layer=1)
    with pytest.raises(ValueError, match="the view is another model's"):
        pipeline.ViCrop(other).answer(view, QUESTION)


def test_truth_is_boxes(vlm, picture):
    """Ours, as case 28: an array of boxes is taken, three corners are not."""
    crop = pipeline.ViCrop(vlm)
    made = crop.answer(
        picture, QUESTION, "human-crop", truth=np.array([[9, 9, 50, 60]])
    )
    as_list = crop.answer(picture, QUESTION, "human-crop", truth=[(9, 9, 50, 60)])
    assert made.box == as_list.box
    for truth in ([(1, 2, 3)], "abc", [("a", 0, 1, 1)]):
        with pytest.raises(ValueError, match="truth must be a list of boxes"):
            crop.answer(picture, QUESTION, "human-crop", truth=truth)


@pytest.mark.parametrize("views", [0, 1.5, "x", True])
def test_number_of_kept_views_is_a_whole_number(vlm, views):
    """Ours, as case 28."""
    with pytest.raises(ValueError, match=f"max_views is {views!r}, expected a whole"):
        pipeline.ViCrop(vlm, views)


def test_embedded_weights_are_where_the_registry_says():
    """A folder of the package's own is none of the caller's."""
    spec = adapters.find("tiny-llava")
    assert spec.folder == paths.WEIGHTS / "tiny-llava" and spec.is_here()
    assert Path(spec.files[0]).name == "model.safetensors"
