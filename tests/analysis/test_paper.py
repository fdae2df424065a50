"""The paper's numbers: do they add up as the paper, and the arithmetic, say?"""

import pytest

from analysis import paper
from analysis.paper import BOTH, TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_6, TABLE_7
from vicrop.methods import PAPER

TABLES = [one for one in vars(paper).values() if isinstance(one, paper.Table)]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.place)
def test_every_row_has_a_number_a_column_and_a_known_model(table):
    for (model, _), cells in table.rows.items():
        assert len(cells) == len(table.columns)
        assert model in {*paper.MODELS, "seal", "all"}
    assert len(table.frame()) == len(table.rows)


@pytest.mark.parametrize(
    ("model", "fall"),
    [("blip-2", 24), ("instructblip", 23), ("llava", 11), ("qwen-vl", 12)],
)
def test_accuracy_falls_by_the_points_that_the_text_gives(model, fall):
    large, small = (TABLE_1.value(model, "no-crop", g) for g in ("large", "small"))
    assert int(large - small) == fall


def test_gpt_4o_is_not_monotone():
    small, medium, large = TABLE_1.rows["gpt-4o", "no-crop"]
    assert medium > large > small
    assert round(medium - small) == 7


def test_the_human_crop_turns_the_order_around_in_four_of_five_models():
    turned = [
        model
        for model, row in TABLE_1.rows
        if row == "human-crop"
        and TABLE_1.value(model, row, "small") > TABLE_1.value(model, row, "large")
    ]
    assert turned == ["blip-2", "instructblip", "llava", "gpt-4o"]


def weighted(model, crop):
    """Table 1 over all sizes: its groups, weighted by their counts."""
    counts = paper.GROUP_COUNTS
    parts = [TABLE_1.value(model, crop, group) * n for group, n in counts.items()]
    return sum(parts) / sum(counts.values())


def test_size_groups_are_all_annotated_questions():
    assert sum(paper.GROUP_COUNTS.values()) == 4370
    assert weighted("llava", "no-crop") == pytest.approx(47.05, abs=0.005)
    assert weighted("instructblip", "no-crop") == pytest.approx(33.02, abs=0.005)


def test_the_questions_that_table_1_leaves_out_are_plausible():
    """Table 2's mean is over 5000 questions, Table 1's over 4370 of them."""
    for model in BOTH:
        whole = TABLE_2.value(model, "no-crop", "textvqa") * 5000
        rest = (whole - weighted(model, "no-crop") * 4370) / 630
        assert 0 < rest < 100


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("method", ["no-crop", *PAPER])
def test_tables_repeat_each_other(model, method):
    text = TABLE_2.value(model, method, "textvqa")
    assert text == TABLE_3.value(model, method, "selected layer")
    assert text == TABLE_4.value(model, method, "TextVQA")
    tiled = TABLE_3.value(model, method, "with tiles")
    assert tiled == TABLE_2.value(model, method, "vstar")


def test_one_number_of_table_7_is_not_that_of_table_2():
    apart = [
        name
        for name in paper.SEVEN
        if TABLE_7.value("llava", "rel-att", name)
        != TABLE_2.value("llava", "rel-att", name)
    ]
    assert apart == ["vqav2"]


def vstar_numbers():
    for table, columns in (
        (TABLE_2, ["vstar"]),
        (TABLE_3, ["with tiles", "without tiles"]),
        (TABLE_6, ["vstar"]),
    ):
        for model, row in table.rows:
            yield from (table.value(model, row, column) for column in columns)


def is_count(percent, of):
    count = round(percent * of / 100)
    return round(100 * count / of, 2) == percent


def test_every_vstar_number_but_seals_is_a_count_of_191():
    odd = [found for found in vstar_numbers() if not is_count(found, 191)]
    assert odd == [58.11]  # 111 of 191 are 58.115
    seal = TABLE_7.value("seal", "trained", "vstar")
    assert not is_count(seal, paper.VSTAR_QUESTIONS)


def test_popes_number_is_a_count_of_8910_and_not_of_9000():
    assert is_count(TABLE_2.value("llava", "rel-att", "pope"), 8910)
    assert not is_count(TABLE_2.value("llava", "rel-att", "pope"), 9000)


def gains(datasets):
    return {
        (model, method, name): TABLE_2.change(model, method, name)
        for model in BOTH
        for method in PAPER
        for name in datasets
    }


def test_gains_on_details_have_one_exception():
    losses = {key for key, gain in gains(paper.DETAILED).items() if gain < 0}
    assert losses == {("instructblip", "pure-grad", "docvqa")}
    assert TABLE_2.change("llava", "rel-att", "textvqa") == 7.37
    assert TABLE_2.change("llava", "rel-att", "vstar") == 19.89


def test_general_data_lose_nothing_with_one_exception():
    found = gains(paper.GENERAL)
    assert len(found) == 18
    losses = {key: gain for key, gain in found.items() if gain < 0}
    assert losses == {("instructblip", "grad-att", "vqav2"): -0.17}


def test_instructblip_gains_more_than_llava_on_textvqa():
    """Against what the paper says of the two."""
    for method in PAPER:
        ours, theirs = (TABLE_2.change(model, method, "textvqa") for model in BOTH)
        assert theirs > ours


def test_averaging_layers_costs_nowhere_the_points_that_the_text_says():
    changes = [
        TABLE_3.apart(model, method, "mean of all layers", "selected layer")
        for model in BOTH
        for method in ("rel-att", "grad-att")
    ]
    assert changes == [0.28, 0.20, -1.04, -0.73]


def test_overhead_in_answer_tokens():
    tokens = [paper.answer_tokens(m, "rel-att") for m in BOTH]
    assert [round(found, 1) for found in tokens] == [6.8, 4.7]


def test_an_interval_of_vstars_questions_is_seven_points_either_way():
    assert paper.half_width("vstar") == pytest.approx(7.1, abs=0.05)
    assert paper.half_width("vqav2") == pytest.approx(0.4, abs=0.05)


def test_a_number_that_the_paper_lacks_is_an_error():
    with pytest.raises(ValueError, match="Table 2 has no number for gpt-4o"):
        TABLE_2.value("gpt-4o", "rel-att", "textvqa")
    with pytest.raises(ValueError, match="Table 3 has no number for llava, pure-grad"):
        TABLE_3.value("llava", "pure-grad", "mean of all layers")


def test_a_table_says_that_it_is_the_papers():
    frame = TABLE_2.frame()
    assert list(frame)[:2] == ["model (the paper's)", "of"]
    assert frame["model (the paper's)"].str.startswith("LLaVA-1.5").sum() == 4
