"""The sizes that the repository names, and what a matrix may not say."""

from collections import Counter

import pytest
import yaml

from vicrop import adapters, methods
from vicrop.run import datasets
from workflow import matrix
from workflow.plans import MATRIX

SIZES = list(matrix.read(MATRIX))
PAPER_DATA = {"textvqa", "docvqa", "gqa", "aokvqa", "pope", "vstar", "vqav2"}
TWO = {"llava-1.5-7b", "instructblip-vicuna-7b"}


def runs_of(size):
    return matrix.chosen(MATRIX, size)[0]


@pytest.mark.parametrize("size", SIZES)
def test_every_size_asks_only_for_what_there_is(size):
    runs = runs_of(size)
    assert {config.model for config in runs} <= set(adapters.MODELS)
    assert {config.method for config in runs} <= set(methods.METHODS)
    assert {config.dataset for config in runs} <= set(datasets.MAKERS)


@pytest.mark.parametrize("size", SIZES)
def test_no_size_makes_a_run_twice(size):
    names = Counter(config.run_id for config in runs_of(size))
    assert max(names.values()) == 1


@pytest.mark.parametrize("size", sorted(set(SIZES) - {"embedded", "studies"}))
def test_published_models_run_on_a_gpu_as_the_authors_ran_them(size):
    assert {(c.device, c.dtype) for c in runs_of(size)} == {("cuda", "bfloat16")}


def test_table_2_is_two_models_four_methods_and_seven_data_sets():
    runs = runs_of("table2")
    assert len(runs) == 2 * 4 * 7
    cells = {(c.model, c.method.removesuffix("-high"), c.dataset) for c in runs}
    methods = ("no-crop", "rel-att", "grad-att", "pure-grad")
    assert cells == {(m, w, d) for m in TWO for w in methods for d in PAPER_DATA}
    tiled = {c.dataset for c in runs if c.method.endswith("-high")}
    assert tiled == {"vstar"}


def test_table_3_has_every_map_of_vstar_with_the_tiles_and_without():
    runs = runs_of("table3-vstar")
    maps = Counter(c.method.removesuffix("-high") for c in runs)
    assert maps == {"no-crop": 2, "rel-att": 4, "grad-att": 4, "pure-grad": 4}


def test_table_1_is_textvqa_with_a_humans_crop():
    runs = runs_of("table1")
    assert {(c.model, c.method, c.dataset) for c in runs} == {
        (model, method, "textvqa")
        for model in TWO
        for method in ("no-crop", "human-crop-tight", "human-crop")
    }


def test_qwen_has_the_rows_of_table_2():
    of = {(c.method, c.dataset) for c in runs_of("table2")}
    runs = runs_of("qwen")
    assert {(c.method, c.dataset) for c in runs} == of and len(runs) == 4 * 7
    assert {c.model for c in runs} == {"qwen2.5-vl-3b"}


def test_the_paper_is_its_tables_and_qwen_without_the_runs_that_two_share():
    parts = [run for size in ("table1", "table2", "qwen") for run in runs_of(size)]
    names = {config.run_id for config in runs_of("paper")}
    assert names == {config.run_id for config in parts}
    assert len(names) == len(parts) - 2  # no-crop of TextVQA


def test_beyond_is_five_data_sets_with_three_models():
    runs = runs_of("beyond")
    assert len(runs) == 3 * 4 * 5
    assert not {c.dataset for c in runs} & PAPER_DATA


def block(**changes):
    plain = {"models": ["tiny-llava"], "datasets": {"plates": ["no-crop"]}}
    return {**plain, **changes}


@pytest.fixture
def write(tmp_path):
    """Writes a matrix of these sizes; text as it is."""

    def write(sizes):
        file = tmp_path / "matrix.yaml"
        file.write_text(sizes if isinstance(sizes, str) else yaml.safe_dump(sizes))
        return file

    return write


def test_methods_own_settings_win_over_those_of_the_block(write):
    methods = ["no-crop", {"method": "rel-att", "limit": 2, "fit": "pad"}]
    given = block(datasets={"plates": methods}, limit=5, seed=3)
    runs, pages = matrix.chosen(write({"s": {"runs": [given]}}), "s")
    assert [(c.limit, c.seed, c.fit) for c in runs] == [(5, 3, None), (2, 3, "pad")]
    assert pages == []


def test_short_keys_of_the_authors_name_the_same_run(write):
    methods = ["rel_att", "rel-att"]
    given = block(models=["llava", "llava-1.5-7b"], datasets={"vstar": methods})
    (run,), _ = matrix.chosen(write({"s": {"runs": [given]}}), "s")
    assert run.run_id == "llava-1.5-7b__rel-att__vstar"


def test_own_data_can_be_named_by_its_folder(write, tmp_path):
    given = block(datasets={str(tmp_path): ["no-crop"]})
    (run,), _ = matrix.chosen(write({"s": {"runs": [given]}}), "s")
    assert run.dataset == str(tmp_path)


def test_included_sizes_come_first_with_their_pages(write):
    one = {"runs": [block(models=["tiny-qwen2.5-vl"])], "pages": ["quick_start"]}
    both = {"runs": [block()], "includes": ["one"], "pages": ["geometry"]}
    runs, pages = matrix.chosen(write({"one": one, "both": both}), "both")
    assert [run.model for run in runs] == ["tiny-qwen2.5-vl", "tiny-llava"]
    assert pages == ["quick_start", "geometry"]


def test_unknown_size_is_named_with_those_known(write):
    file = write({"one": {}, "two": {}})
    with pytest.raises(ValueError, match=r"unknown size 'huge' in .*known: one, two$"):
        matrix.chosen(file, "huge")


WRONG = {
    "model": (
        block(models=["tiny-llava", "llava-7b"]),
        r"s\.runs\[0\]\.models\[1\]: unknown model 'llava-7b'; known: tiny-llava, ",
    ),
    "method": (
        block(datasets={"plates": ["no-crop", "rel-at"]}),
        r"s\.runs\[0\]\.datasets\.plates\[1\]\.method: unknown method 'rel-at'; "
        "known: ",
    ),
    "data set": (
        block(datasets={"plate": ["no-crop"]}),
        r"s\.runs\[0\]\.datasets\.plate: unknown data set 'plate'; known: plates, ",
    ),
    "key of a block": (
        block(devices="cuda"),
        r"s\.runs\[0\]: unknown key 'devices'; .*device, .*models, datasets, shards$",
    ),
    "key of a method": (
        block(datasets={"plates": [{"method": "no-crop", "size": 1}]}),
        r"s\.runs\[0\]\.datasets\.plates\[0\]: unknown key 'size'; known: .*geometry",
    ),
    "method without its key": (
        block(datasets={"plates": [{"fit": "pad"}]}),
        r"s\.runs\[0\]\.datasets\.plates\[0\]\.method: Field required",
    ),
    "number as text": (
        block(limit="3"),
        r"s\.runs\[0\]\.limit: Input should be a valid integer \(got '3'\)$",
    ),
    "negative limit": (block(limit=-1), r"s\.runs\[0\]\.limit: .*\(got -1\)$"),
    "dtype": (block(dtype="half"), r"dtype: unknown dtype 'half'; known: float32, "),
    "device": (block(device="gpu"), r"device: unknown device 'gpu'; known: cpu, cuda"),
    "no models": (block(models=[]), r"models: List should have at least 1 item"),
    "no methods": (block(datasets={"plates": []}), r"plates: List should have at l"),
    "not a block": ("plates", r"s\.runs\[0\]: must be a mapping of .*models, datasets"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_block_is_one_line_that_names_the_place(write, name):
    wrong, said = WRONG[name]
    file = write({"fine": {"runs": [block()]}, "s": {"runs": [wrong]}})
    with pytest.raises(ValueError, match=said) as caught:
        matrix.chosen(file, "fine")
    assert str(caught.value).startswith(f"{file} s.runs[0]")
    assert "\n" not in str(caught.value)


WRONG_SIZES = {
    "unknown key": ({"s": {"run": []}}, r"s: unknown key 'run'; known: runs, pages, i"),
    "unknown page": (
        {"s": {"pages": ["quick_start", "x"]}},
        r"s\.pages\[1\]: unknown page 'x'; known: .*quick_start",
    ),
    "unknown include": (
        {"s": {"includes": ["t"]}, "u": {}},
        r"s\.includes\[0\]: unknown size 't'; known: s, u",
    ),
    "include that includes": (
        {"s": {"includes": ["t"]}, "t": {"includes": ["s"]}},
        r"s\.includes\[0\]: 't' includes others itself; name those instead",
    ),
    "empty file": ("", r"whole file: Input should be a valid dict.*\(got None\)"),
    "torn": ("s: [", r"while parsing .* line 1, column"),
    "key twice": (
        "s:\n  runs:\n  - models: [tiny-llava]\n    datasets:\n"
        "      plates: [no-crop]\n      plates: [rel-att]\n",
        "line 6: key 'plates' stands there twice",
    ),
}


@pytest.mark.parametrize("name", WRONG_SIZES)
def test_wrong_file_is_one_line_that_names_the_place(write, name):
    wrong, said = WRONG_SIZES[name]
    file = write(wrong)
    with pytest.raises(ValueError, match=said) as caught:
        matrix.read(file)
    assert str(caught.value).startswith(f"{file} ")
    assert "\n" not in str(caught.value)


def test_two_runs_of_one_folder_are_refused_with_what_differs(write):
    given = {"runs": [block(), block(device="cuda")]}
    said = "called tiny-llava__no-crop__plates, .*: device 'cpu' and 'cuda'$"
    with pytest.raises(ValueError, match=said):
        matrix.chosen(write({"s": given}), "s")
