"""What people bring as text: questions, answers, labels and names from outside."""

import io
import json
import subprocess
import sys
import warnings

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from embedded import idefics3, instructblip, llava, qwen
from vicrop import adapters, paths, scoring
from vicrop.adapters import instructblip as blip_facts
from vicrop.adapters import llava as llava_facts
from vicrop.adapters.facts import INSTRUCTION, tokenize
from vicrop.adapters.idefics3 import WHOLE
from vicrop.adapters.instructblip import InstructBlip
from vicrop.run import cli as runcli
from vicrop.run import loop, scores
from vicrop.run.folder import RunFolder
from vicrop.run.progress import Progress
from vicrop.run.records import Record, RunConfig, Sample
from vicrop.scoring import mcq
from vicrop.types import Answer, Box, Map, check_question, markdown, printable
from workflow import pages, replay

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402 (after the backend is chosen)

from analysis import figures  # noqa: E402
from analysis.explorer import page  # noqa: E402
from vicrop import plots  # noqa: E402

PRICE = "$5 is 10% of $50"
ODD = [
    PRICE,
    r"\$5 $x_{$",
    "[red]stop[/red] :bomb:",
    "a|b *c* `d` __e__ <script>alert(1)</script>",
    "\x1b[2J\x07\rgone",
    "nul \0 here",
    "right-to-left \u202eevil",
    "什么数字？ 數字 数字",
    "😀 \U0001faf6 👨\u200d👩\u200d👧",
    "שלום עולם",
    "می\u200cخواهم",
    "cafe\u0301",
    "line one\nline two\n(A) red\r\n(B) blue",
    "x" * 700,
    "long words " * 90,
    "\ue000 \U000e0041",
]
"""Texts that somebody has asked, answered, or called a data set."""


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def drawn(figure) -> bytes:
    """The figure as PNG: drawing it must not warn."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(stream)
    return stream.getvalue()


def texts_of(figure):
    return [one.get_text() for one in figure.findobj(matplotlib.text.Text)]


# Case 6: text that leaves us.


@pytest.mark.parametrize("said", ODD)
def test_any_answer_can_stand_in_a_figure(picture, said):
    """Case 6: a figure is drawn without a warning, whatever was said."""
    answer = Answer(said, said, Box(0, 0, 50, 50), Map(np.eye(4)))
    figure = plots.answer_panel(picture, answer)
    assert drawn(figure)
    for text in texts_of(figure):
        assert all(one.isprintable() or one in "\n\u200c\u200d" for one in text)
        assert not matplotlib.cbook.is_math_text(text)
        assert text.count("\n") < 8


@pytest.mark.parametrize("said", ODD)
def test_any_name_and_group_can_stand_in_the_books_figures(picture, said):
    """Case 6: grids and charts take names and categories as they come."""
    amap = Map(np.eye(4))
    assert drawn(figures.grid(picture, {said: {said: (amap, None)}}))
    one = figures.stacked({said: {said: estimate()}}, "points", {})
    two = figures.stacks({said: pd.DataFrame({said: [1, 2]}, [said, "b"])}, "%")
    three = figures.compared({said: {said: {said: estimate()}}}, [said])
    four = figures.binned({said: {said: {said: estimate()}}}, "share", "points")
    five = figures.ladders({said: {said: estimate()}}, "accuracy, %")
    for figure in (one, two, three, four, five):
        assert drawn(figure)


@pytest.mark.parametrize("said", ODD)
def test_axes_of_a_page_take_any_name(said):
    """Case 6: so do charts that draw into a page's own axes."""
    calls = [
        lambda ax: figures.bars([said], {said: [estimate()]}, ax),
        lambda ax: figures.forest({said: estimate()}, ax, "points"),
        lambda ax: figures.layers({said: [estimate()]}, ax),
        lambda ax: figures.shares(pd.DataFrame({said: [1]}, [said]), ax, "answers"),
        lambda ax: figures.histogram([1, 2], ax, (), said),
        lambda ax: figures.curves([{"step": 1, said: 2}], [said], ax),
    ]
    for call in calls:
        figure, ax = plt.subplots(layout="constrained")
        assert call(ax) is ax
        assert drawn(figure)


def estimate():
    from vicrop.run.stats import Estimate

    return Estimate(0.5, 0.25, 0.75, 10)


def test_money_is_drawn_as_it_is_said(picture):
    """Case 6: a dollar sign is drawn, and begins no formula."""
    figure = plots.answer_panel(picture, Answer(PRICE, PRICE))
    figure.draw_without_rendering()
    (label,) = (
        t for t in figure.findobj(matplotlib.text.Text) if "10%" in t.get_text()
    )
    assert label._preprocess_math(label.get_text())[0] == f"image: “{PRICE}”"


def test_a_letter_without_a_font_is_said_once_a_figure(picture, row):
    """Case 6: one hint, however many letters and labels lack a font."""
    lacking = "\u3042\u3044\u3046"
    if plots._font(lacking[0]) is not None:
        lacking = "\U00013000\U00013001"  # hieroglyphs, where a font has kana
    assert plots._font(lacking[0]) is None
    answer = Answer(lacking, lacking, Box(0, 0, 9, 9), Map(np.eye(4)))
    sample = Sample.model_validate(row(question=lacking))
    figure = replay.gallery([(picture, answer, sample)] * 2)
    hints = [t for t in texts_of(figure) if t == f"{plots.LACKED}: no font here has it"]
    assert len(hints) == 1 and drawn(figure)


def test_a_letter_that_another_installed_font_has_is_drawn_with_that(picture):
    """Case 6: fonts that are here are used before anything is left out."""
    letter = "\u20e3" if plots._font("\u20e3") else "\u20dd"
    assert plots._font(letter) not in ("", None)
    figure = plots.answer_panel(picture, Answer(f"a{letter}", f"a{letter}"))
    (label,) = (
        t for t in figure.findobj(matplotlib.text.Text) if "image:" in t.get_text()
    )
    assert plots._font(letter) in label.get_fontfamily()
    assert letter in label.get_text() and drawn(figure)


def test_figures_ask_no_latex_of_anybody(picture):
    """Case 6 (further): with `text.usetex` set, our labels are drawn without it."""
    with matplotlib.rc_context({"text.usetex": True}):
        figure = plots.answer_panel(picture, Answer("50% of #1 & _b", "a"))
    assert not any(t.get_usetex() for t in figure.findobj(matplotlib.text.Text))


@pytest.mark.parametrize("said", ODD)
def test_a_terminal_shows_text_and_never_obeys_it(said, capsys):
    """Case 6: tables and lines show markup and control characters as text."""
    runcli.show(["name", said], [(said, said)], said)
    runcli.say(said)
    out, _ = capsys.readouterr()
    assert all(one.isprintable() or one in "\n\u200c\u200d" for one in out)
    *_, line = out.splitlines()
    assert line == printable(said).replace("\n", " ").splitlines()[0]


def test_brackets_and_colons_are_no_markup_in_a_table(capsys):
    """Case 6: what rich would take for a style or an emoji stays."""
    runcli.show(["run", "what"], [("[red]stop[/red]", ":bomb: [/]")], "[bold]x")
    out, _ = capsys.readouterr()
    assert "[red]stop[/red]" in out and ":bomb: [/]" in out and "[bold]x" in out


def test_commands_show_what_models_and_files_are_called_as_text(
    vicrop, write_data, row, picture, random_weights, results_folder, monkeypatch
):
    """Case 6: run, score and status survive ids and categories that are markup."""
    monkeypatch.setattr("rich.console.Console.is_terminal", False, raising=False)
    odd = "[/red] a|b\x1b[31m $1"
    rows = [row(id=odd, image_path="gone.png")]
    rows += [row(id=str(n), meta={"category": c}) for n, c in enumerate([odd, "b"])]
    data = write_data(rows, [picture])
    (data / "images" / "gone.png").touch()
    status, _, err = vicrop("run", "--dataset", data, "--max-new-tokens", 2)
    assert status == 1
    assert "failed: [/red] a|b\\x1b[31m $1: " in err and "\x1b[31m" not in err
    made = RunFolder.of(RunConfig(dataset=str(data), max_new_tokens=2))
    status, out, _ = vicrop("score", made.folder)
    assert status == 0 and "[/red]" in out and "\\x1b[31m" in out
    assert "\x1b" not in out
    assert vicrop("status")[0] == 0
    table = (paths.results() / "scores" / "scores.md").read_text().splitlines()
    assert {line.replace(r"\|", "").count("|") for line in table} == {13}


def test_scores_as_markdown_have_a_row_a_line_and_no_markup():
    """Case 6: pipes, line breaks and underscores of a name stay in its cell."""
    said = markdown("__a__|b\n*c* <b> $1$ `d`")
    assert said == r"\_\_a\_\_\|b \*c\* \<b\> \$1\$ \`d\`"


def test_tables_of_a_page_show_text_and_no_formula():
    """Case 6: HTML in cells, in lists in cells and in headings is escaped."""
    evil = "<script>$1$</script>"
    frame = pd.DataFrame({evil: [evil, "b"], "n": [1, 2]})
    frame["lists"] = [(evil,), ("b",)]
    frame["maps"] = [{"k": evil}, {}]
    made = figures.table(frame)._repr_html_()
    assert "<script>" not in made and "&lt;script&gt;$1$" in made
    assert "mathjax_ignore" in made and "tex2jax_ignore" in made
    linked = figures.table(frame, {"b": "https://a.b/?x=<&y"})._repr_html_()
    assert "<script>" not in linked


def test_a_runs_title_is_no_markup(tmp_path):
    """Case 6: a folder's name stands in the page's heading as it is spelled."""
    made = pages.of_run(RunConfig(dataset="my_*data*_<b>"))
    assert r"my\_\*data\*\_\<b\>" in markdown(made.title)


def test_explorer_shows_text_and_no_formula():
    """Case 6: MathJax leaves the explorer alone, and no question ends its script."""
    evil = "</script><script>alert(1)</script>"
    assert "<" not in page.json_of({"question": evil})
    assert "<" not in page.options({0: evil}, 0).replace(
        '<option value="0" selected>', ""
    ).replace("</option>", "")
    source = (paths.ROOT / "analysis/explorer/page.py").read_text(encoding="utf-8")
    assert "tex2jax_ignore mathjax_ignore" in source


@given(st.text())
def test_nothing_unprintable_is_ever_shown(said):
    """Case 6: of any text at all."""
    made = printable(said)
    assert all(one.isprintable() or one in "\n\u200c\u200d\u200e\u200f" for one in made)
    made.encode()
    assert "\n" not in markdown(said)


def test_bytes_that_are_no_text_are_refused_on_the_shell(vicrop, picture, tmp_path):
    """Case 8 (further): in one line, from a terminal of another encoding."""
    picture.save(tmp_path / "a.png")
    status, out, err = vicrop("answer", tmp_path / "a.png", "what is \udcff?")
    assert (status, out) == (2, "")
    assert err.startswith("vicrop: the question 'what is \\udcff?' holds bytes")


def test_a_screen_of_another_encoding_shows_what_it_can(write_data, row, picture):
    """Case 6 (further): an ASCII terminal gets escapes, not a traceback."""
    call = [sys.executable, "-m", "vicrop.cli", "models"]
    env = {"PYTHONIOENCODING": "ascii", "PATH": "", "PYTHONPATH": str(paths.ROOT)}
    done = subprocess.run(call, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "16" in done.stdout and "\\xd7" in done.stdout


def test_a_runs_name_steers_no_terminal():
    """Case 6 (further): nor does it in the progress line."""
    out = io.StringIO()
    bar = Progress("a\x1b[2Jb", 2, {"rel-att": []}, out=out)
    bar.add("rel-att", Record(id="a", question="q", labels=("x",), error="e"))
    bar.close()
    assert "\x1b" not in out.getvalue() and r"a\x1b[2Jb" in out.getvalue()


# Cases 7 and 8: the prompt's text.


def blip():
    torch.manual_seed(0)
    return InstructBlip.architecture(instructblip.config())


def wrapped(family):
    """A small random model of a family that takes few tokens."""
    made = {
        "llava": lambda: (llava.model(), llava.processor(), 2),
        "instructblip": lambda: (blip(), instructblip.processor(), 1),
        "qwen2.5-vl": lambda: (qwen.model(), qwen.processor(), 2),
        "idefics3": lambda: (idefics3.model(), idefics3.processor(), 2),
    }
    model, processor, layer = made[family]()
    return adapters.wrap(model, processor, family, layer=layer)


@pytest.fixture(
    scope="module", params=["llava", "instructblip", "qwen2.5-vl", "idefics3"]
)
def some(request):
    return wrapped(request.param)


@pytest.fixture(scope="module")
def small():
    noise = np.random.default_rng(0).integers(0, 256, (112, 140, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def positions(vlm):
    return vlm.text_model.config.max_position_embeddings


def test_a_question_that_is_too_long_is_refused_with_what_and_how_many(some, small):
    """Case 7: before the language model or a Q-Former is run, naming the part."""
    question = "what digit " * positions(some)
    view, before = some.look(small), some.work
    said = rf"language model would read \d+ tokens of at most {positions(some)}; ask a"
    for ask in (view.ask, view.importance):
        with pytest.raises(ValueError, match=said):
            ask(question)
    assert some.work == before


def test_the_q_formers_own_limit_is_named(small):
    """Case 7: it is shorter than the language model's."""
    vlm = wrapped("instructblip")
    most = vlm.model.config.qformer_config.max_position_embeddings
    view, before = vlm.look(small), vlm.work
    with pytest.raises(
        ValueError, match=rf"the Q-Former would read \d+ .* {most}; ask"
    ):
        view.ask("what digit " * (most // 2))
    assert vlm.work == before


def test_a_prompt_with_a_crop_must_have_room_for_its_answer(some, small, monkeypatch):
    """Case 7: image, crop, question and answer together, to the token."""
    view, box = some.look(small), Box(0, 0, 56, 56)
    with view:
        crop = some.look_at([view.part(box)])
        whole = some.words("what?", [view.whole.seen, crop]).ids.shape[1]
    monkeypatch.setattr(some.text_model.config, "max_position_embeddings", whole + 3)
    before = some.work
    with pytest.raises(
        ValueError, match=rf"read {whole + 4} tokens of at most {whole + 3}"
    ):
        view.ask("what?", box, max_new_tokens=4)
    assert some.work.passes == before.passes
    assert isinstance(view.ask("what?", box, max_new_tokens=3).text, str)


def test_ready_made_inputs_that_are_too_long_are_refused(small):
    """Case 7 (further): what a processor made is counted too."""
    vlm = wrapped("llava")
    text = f"{'<image>'}\nUSER: {'what ' * positions(vlm)} ASSISTANT:"
    inputs = vlm.processor(images=small, text=text, return_tensors="pt")
    with pytest.raises(ValueError, match="the language model would read"):
        vlm.read(inputs)


CONTROL = ["</s>", "<s>", "<|im_end|>", "<|im_start|>", "<|vision_start|>", "<image>",
           "<|image_pad|>", "[SEP]", "[CLS]", "<unk>", "<end_of_utterance>",
           "<fake_token_around_image>", "\0"]  # fmt: skip


@pytest.mark.parametrize("control", CONTROL)
@pytest.mark.parametrize("images", [1, 2])
def test_control_tokens_in_a_question_are_text(some, small, control, images):
    """Case 8: the prompt has as many of each as with an ordinary question."""
    seen = [some.look_at([small])] * images
    plain = some.words("what is it?", seen)
    for question in (control, f"is {control} it?", control * 3, f" {control} "):
        made = some.words(question, seen)
        # The unknown word's token is what words outside a small vocabulary become.
        ids = {n for n, token in some.tokenizer.added_tokens_decoder.items()
               if token.special} - {some.tokenizer.unk_token_id}  # fmt: skip
        for one in ids:
            assert (made.ids == one).sum() == (plain.ids == one).sum(), question


@pytest.mark.parametrize("control", CONTROL)
def test_a_question_of_control_tokens_is_answered(some, small, control):
    """Case 8: with and without a crop."""
    said = some.look(small).ask(f"is {control} red?", Box(0, 0, 56, 56), 2)
    assert isinstance(said.text, str)


ORDINARY = ["what?", " what  digit\n(A) 1", "é 中 😀", "a<b>c", "x" * 90, "שלום"]
ORDINARY += [
    "{{ 7*7 }} {% if x %} {#",
    "$id ${x} %s {0} {question}",
    "e" + "\u0301" * 40,
]


@pytest.mark.parametrize("question", ORDINARY)
def test_ordinary_questions_have_the_processors_tokens(some, small, question):
    """Case 8: byte by byte what the whole text gives."""
    text = prompt_of(some, question)
    ids = some.words(question, [some.look_at([small])]).ids[0].tolist()
    stock = some.tokenizer(text)["input_ids"]
    others = [one for one in ids if one != some.image_token_id]
    assert others == [one for one in stock if one != some.image_token_id]


def prompt_of(vlm, question):
    """A family's prompt about one image, as its processor is given it."""
    if vlm.family == "llava":
        return llava_facts.prompt_text(question)
    if vlm.family == "instructblip":
        return blip_facts.prompt_text(question)
    asked = {"type": "text", "text": f"{question} {INSTRUCTION}"}
    text = vlm.processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, asked]}],
        add_generation_prompt=True,
        tokenize=False,
    )
    if vlm.family == "idefics3":
        image = vlm.processor.replace_image_token(WHOLE, 0)
        return text.replace(vlm.processor.image_token, image)
    return text


def by_bytes():
    """A tokenizer that has every byte, as Qwen's and GPT-2's do."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({one: n for n, one in enumerate(letters)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = {"additional_special_tokens": ["<|im_end|>", "<|image_pad|>"]}
    made = PreTrainedTokenizerFast(tokenizer_object=made)
    made.add_special_tokens(special)
    return made


def like_bert():
    """A tokenizer that puts tokens of its own around a text, as a Q-Former's does."""
    words = ["[UNK]", "[CLS]", "[SEP]", "question", "is", "sep", "cls", "[", "]", ":"]
    made = Tokenizer(models.WordLevel({w: n for n, w in enumerate(words)}, "[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    names = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=made, **names)


@given(st.lists(st.sampled_from(["<|im_end|>", "<|image_pad|>", "is", " ", "é", "<|"])))
def test_text_between_and_of_control_tokens_is_kept_whole(parts):
    """Case 8: nothing comes in or is lost where a tokenizer knows all bytes."""
    tokenizer, asked = by_bytes(), "".join(parts)
    text = f"<|image_pad|>user\n{asked} Answer.<|im_end|>\n"
    ids = tokenize(tokenizer, text, f"{asked} Answer.")[0].tolist()
    assert tokenizer.decode(ids) == text
    assert [ids.count(n) for n in tokenizer.convert_tokens_to_ids(
        ["<|im_end|>", "<|image_pad|>"])] == [1, 1]  # fmt: skip


def test_tokens_around_a_text_stay_where_they_are():
    """Case 8: a Q-Former's tokenizer begins and ends its text once."""
    made = like_bert()
    ids = tokenize(made, "question : is [SEP] sep [CLS]", "is [SEP] sep [CLS]")
    assert ids[0, 0] == 1 and ids[0, -1] == 2
    assert (ids == 1).sum() == (ids == 2).sum() == 1
    plain = made("question : is sep", return_tensors="pt")["input_ids"]
    assert torch.equal(tokenize(made, "question : is sep", "is sep"), plain)


@pytest.mark.parametrize("question", ["half \ud83d a pair", "\udcff from a shell"])
def test_half_a_character_is_refused_as_no_text(some, small, question):
    """Case 8: it came from bytes that are no UTF-8, and no tokenizer takes it."""
    with pytest.raises(ValueError, match="holds bytes that are no text; write it in"):
        some.look(small).ask(question)
    with pytest.raises(ValueError, match="no text"):
        check_question(question)


# Case 9: letters are what they read as.


@pytest.mark.parametrize(
    ("said", "label"),
    [
        ("cafe\u0301", "café"),
        ("４２．", "42"),
        ("４２。", "42"),
        ("ＦＯＵＲ！", "four"),
        ("dark\xa0blue", "dark blue"),
        ("dark\u3000blue", "dark blue"),
        ("it’s", "it's"),
        ("“stop”", '"stop"'),
        ("7–9", "7-9"),
        ("4\u200b", "4"),
        ("\ufeff4", "4"),
        ("STRASSE", "straße"),
        ("ΟΔΟΣ", "οδός".replace("ό", "ο")),
    ],
)
def test_our_own_scores_compare_letters_as_they_read(said, label):
    """Case 9: in both directions."""
    for dataset in ("plates", "/some/folder"):
        assert scoring.score(dataset, said, [label]) == 1
        assert scoring.score(dataset, label, [said]) == 1


def test_letters_that_read_differently_stay_apart():
    """Case 9: a raised two is no two, an accent counts."""
    for said, label in [("10²", "102"), ("cafe", "café"), ("І", "I"), ("½", "12")]:
        assert scoring.score("plates", said, [label]) == 0


@pytest.mark.parametrize("dataset", ["textvqa", "vqav2", "docvqa", "gqa", "aokvqa"])
def test_composed_accents_are_the_same_text_for_official_scores(dataset):
    """Case 9: Unicode says that they are; nothing else is forgiven there."""
    labels = ["café"] * 9 + ["tea"]
    assert scoring.score(dataset, "cafe\u0301", labels) == scoring.score(
        dataset, "café", labels
    )
    composed = ["cafe\u0301"] * 9 + ["tea"]
    assert scoring.score(dataset, "café", composed) > 0


def test_published_scripts_tell_full_width_digits_apart_and_so_do_their_scores():
    """Case 9: official is the published script, upstream is the authors'."""
    assert scoring.score("gqa", "４", ["4"]) == 0
    assert scoring.score("textvqa", "４", ["4"] * 10) == 0
    assert scoring.score("docvqa", "cafe\u0301", ["café"], variant="upstream") == 0


def test_full_width_options_are_options():
    """Case 9 (further): a question in Chinese has its letters too."""
    question = "什么颜色？\n（Ａ）红\n（Ｂ）蓝\n"
    assert scoring.score("hr-bench-4k", "（Ｂ）", ["B"], question) == 1
    assert scoring.score("hr-bench-4k", "蓝。", ["B"], question) == 1
    assert scoring.score("aokvqa-mc", "Ｂ", ["蓝"], question) == 1


# Case 10: a letter that is named.

VSTAR = "Where?\n(A) left\n(B) right\n(C) up\n(D) down\nAnswer with the letter."


@pytest.mark.parametrize(
    "said", ["Based on it, red", "Blue", "B is for blue, A for amber", "(A) or (B)", ""]
)
def test_a_word_that_begins_with_a_letter_names_none(said):
    """Case 10: V* counts a letter that is named, and one only."""
    assert scoring.score("vstar", said, ["B"], VSTAR) == 0


def test_the_authors_rule_stays_in_its_own_column():
    """Case 10: theirs gives every answer some letter."""
    wanted = [scoring.upstream.closest("Based on it, red", VSTAR.split("\n")[1:-1])[1]]
    score = scoring.score("vstar", "Based on it, red", wanted * 10, VSTAR, "upstream")
    assert score == 1


def test_score_shows_the_strict_rule_and_the_authors(tmp_path, results_folder):
    """Case 10: `vicrop score` has a line of each, and no third."""
    run = RunFolder(tmp_path / "run")
    run.folder.mkdir()
    one = {"question": VSTAR, "labels": ("B",), "plain_score": 0.0, "score": 0.0}
    record = Record(id="a", plain="Based on it", answer="right", **one)
    run.records_file.write_text(record.line())
    config = RunConfig(model="m", dataset="vstar").model_dump()
    run.write_meta({"config": config, "finished": True})
    found = {line.variant: line for line in scores.card(run).itertuples()}
    assert list(found) == ["official", "upstream"]
    assert found["official"].answer.value == 0 and found["upstream"].answer.value == 1


@pytest.mark.parametrize(
    ("said", "letter"),
    [
        ("(A) is wrong, so (B)", None),
        ("A. B. C. D.", None),
        ("Option (A) is wrong; the answer is (B)", None),
        ("(B)dark blue", "B"),
        ("B. A dark one", "B"),
        ("not C. The answer is D", "D"),
        ("Ｂ", "B"),
    ],
)
def test_multiple_choice_counts_an_answer_that_names_one_option(said, letter):
    """Case 10: whoever names them all has named none."""
    known = {"A": "red", "B": "dark blue", "C": "blue", "D": "a D"}
    assert mcq.letter(said, known) == letter


def test_options_without_a_blank_behind_their_letter_are_read():
    """Case 10 (further): `(A)red` is an option too."""
    assert mcq.options("Which?\n(A)red\n(B)blue") == {"A": "red", "B": "blue"}


def test_a_run_over_odd_questions_has_a_record_each(
    write_data, row, picture, random_weights, results_folder
):
    """Cases 6 to 8: none of them ends it, and each is kept as it was asked."""
    asked = [*ODD, "what </s> is <image> it?", "what digit " * 900]
    rows = [row(id=str(n), question=one) for n, one in enumerate(asked)]
    data = write_data(json.loads(json.dumps(rows)), [picture])
    made = loop.run(RunConfig(dataset=str(data), method="no-crop", max_new_tokens=2))
    records = {record.id: record for record in made.records()}
    assert [records[str(n)].question for n in range(len(asked))] == asked
    failed = [record for record in records.values() if record.error]
    assert [one.id for one in failed] == [str(len(asked) - 1)]
    assert failed[0].error.startswith("ValueError: the language model would read ")
