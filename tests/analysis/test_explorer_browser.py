"""The explorer driven in a headless browser, by mouse and by keys, with no network."""

import io
import json
import os
import re
import shutil
from pathlib import Path

import explored
import matplotlib
import numpy as np
import pytest
from PIL import Image

from analysis.explorer import page, sprites

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
playwright = pytest.importorskip(
    "playwright.sync_api", reason="the browser is driven through playwright"
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
]
AXE = os.environ.get("VICROP_AXE", "")
"""Path of axe.min.js, where somebody has it."""

SHELL = (
    '<!doctype html><html lang="en"{}><head><meta charset="utf-8">'
    "<title>explorer</title></head><body><main><h1>Maps</h1>{}</main></body></html>"
)


@pytest.fixture(scope="module")
def saved():
    return explored.saved()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def opened(browser, saved, tmp_path):
    """Opens blocks in a page; whatever it asks for beside its file is an error."""
    asked, errors = [], []

    def guard(route):
        url = route.request.url
        if url.startswith("file://"):
            return route.continue_()
        asked.append(url)
        return route.abort()

    def complain(said):
        if said.type == "error":
            errors.append(said.text)

    context = browser.new_context(viewport={"width": 1000, "height": 900})
    context.route("**/*", guard)

    def open_page(*blocks, theme=""):
        file = tmp_path / "page.html"
        file.write_text(SHELL.format(theme, "".join(blocks)), encoding="utf-8")
        tab = context.new_page()
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on(
            "console", lambda said: said.type == "error" and errors.append(said.text)
        )
        tab.goto(file.as_uri())
        return tab

    yield open_page
    context.close()
    assert asked == [] and errors == []


@pytest.fixture
def tab(opened, saved):
    return opened(page.Explorer(saved).html())


def part(tab, name):
    return tab.locator(f'[data-part="{name}"]').first


def status(tab):
    return part(tab, "status").text_content()


def three(value):
    """A number as the page says it."""
    return float(f"{value:.3g}")


def said_value(tab):
    """Row, column and value that the status line says."""
    row, col, value = re.match(
        r"Row (\d+), column (\d+): (\S+)\. ", status(tab)
    ).groups()
    return int(row), int(col), float(value)


def check(tab, made, line, column):
    """The page shows this tile: where its sprite stands, and what is said of it."""
    amap = made.values[line, column]
    lines, columns = made.values.shape[:2]
    style = part(tab, "map").evaluate(
        "e => [e.style.backgroundPosition, e.style.backgroundSize]"
    )
    place = [
        100 * n / max(1, count - 1) for n, count in ((column, columns), (line, lines))
    ]
    numbers = [float(n) for n in re.findall(r"[\d.]+", " ".join(style))]
    assert numbers == pytest.approx([*place, 100 * columns, 100 * lines], abs=1e-3)
    row, col, value = said_value(tab)
    assert value == pytest.approx(float(amap[row, col]), rel=6e-3)  # three digits
    top, left = np.unravel_index(amap.argmax(), amap.shape)
    peak = f"Peak {three(amap.max()):g} at row {top}, column {left}."
    assert peak in status(tab)


def test_opens_at_the_maps_layer_ratio_and_mean(tab, saved):
    made = sprites.of_prompt(saved, explored.said(saved, 0, "one"), "ratio")
    check(tab, made, 1, 0)
    assert "one, layer 1 (the map's layer), mean over heads, ratio." in status(tab)
    ratio = made.ratios()[1][0]
    assert f"Attention ratio {three(ratio):g}." in status(tab)
    assert page.OFF not in tab.locator("body").inner_text()


def test_layer_is_chosen_by_keys(tab, saved):
    made = sprites.of_prompt(saved, explored.said(saved, 0, "one"), "ratio")
    part(tab, "layer").focus()
    for line, key in ((2, "ArrowRight"), (3, "End"), (0, "Home"), (1, "ArrowUp")):
        tab.keyboard.press(key)
        check(tab, made, line, 0)
        spoken = part(tab, "layer").get_attribute("aria-valuetext")
        assert spoken == f"layer {line}" + (" (the map's layer)" if line == 1 else "")


def test_head_and_prompt_are_chosen(tab, saved):
    for prompt in sprites.PROMPTS:
        made = sprites.of_prompt(saved, explored.said(saved, 0, "one"), prompt)
        part(tab, "prompt").select_option(prompt)
        for column, name in enumerate(["mean", "0", "1", "2"]):
            part(tab, "head").select_option(label=name)
            check(tab, made, 1, column)
    assert "head 2, ratio." in status(tab)


def words(tab):
    """The words to choose from, and which one is chosen."""
    labels = tab.locator('[data-part="tokens"] label')
    chosen = [one.locator("input").is_checked() for one in labels.all()]
    return labels.all_text_contents(), [n for n, one in enumerate(chosen) if one]


def test_a_click_on_a_word_shows_what_it_looks_at(tab, saved):
    made = sprites.of_words(saved, explored.said(saved, 0, "one"))
    assert words(tab) == (list(explored.TOKENS["one"]), [])
    tab.locator('[data-part="tokens"]').get_by_text("red", exact=True).click()
    check(tab, made, 1, 1)
    assert "one, layer 1 (the map's layer), word 1, “red”." in status(tab)
    assert words(tab)[1] == [1]
    assert part(tab, "head").is_disabled() and part(tab, "layer").is_enabled()
    part(tab, "layer").fill("3")
    check(tab, made, 3, 1)
    told = part(tab, "curve").get_attribute("aria-label")
    assert f"layer 2: {three(made.ratios()[2][1]):g}" in told
    part(tab, "method").select_option("layer")
    assert words(tab)[1] == [] and part(tab, "head").is_enabled()


def test_words_are_chosen_by_keys_and_kept_in_another_model(tab, saved):
    made = sprites.of_words(saved, explored.said(saved, 0, "one"))
    part(tab, "word").focus()
    tab.keyboard.press("Space")
    check(tab, made, 1, 0)
    for place, key in ((1, "ArrowRight"), (0, "ArrowLeft"), (1, "ArrowDown")):
        tab.keyboard.press(key)
        check(tab, made, 1, place)
    part(tab, "model").select_option("other")
    check(tab, sprites.of_words(saved, explored.said(saved, 0, "other")), 1, 2)
    assert words(tab) == (list(explored.TOKENS["other"]), [2])
    name = tab.get_by_role("radio", name="red")
    assert name.is_checked()


def test_without_a_choice_the_last_word_is_shown(tab, saved):
    part(tab, "method").select_option("words")
    check(tab, sprites.of_words(saved, explored.said(saved, 0, "one")), 1, 3)
    assert words(tab)[1] == [3]


def test_another_model_has_its_own_layers_and_heads(tab, saved):
    part(tab, "layer").fill("3")
    part(tab, "model").select_option("other")
    check(
        tab, sprites.of_prompt(saved, explored.said(saved, 0, "other"), "ratio"), 1, 0
    )
    assert part(tab, "layer").get_attribute("max") == "1"
    assert part(tab, "head").locator("option").all_text_contents() == ["mean", "0", "1"]
    # A centre crop of 120 × 80 pixels: the map lies over the middle square.
    left = part(tab, "map").evaluate("e => [e.style.left, e.style.width]")
    assert [float(n[:-1]) for n in left] == pytest.approx([100 / 6, 200 / 3], abs=0.01)


@pytest.mark.parametrize("column, method", list(enumerate(explored.METHODS)))
def test_a_methods_map_comes_with_its_crop_and_answer(tab, saved, column, method):
    part(tab, "method").select_option(method)
    made = sprites.of_methods(saved, explored.said(saved, 0, "one"))
    check(tab, made, 0, column)
    assert (
        f"With this map's crop: “one {method}”." in part(tab, "answers").text_content()
    )
    for name in ("layer", "head", "prompt"):
        assert part(tab, name).is_disabled()
    left, top, right, bottom = made.crops()[0][column]
    assert f"left {left}, top {top}, right {right}" in part(tab, "where").text_content()
    style = part(tab, "crop").evaluate("e => [e.style.left, e.style.height]")
    expected = [100 * left / 120, 100 * (bottom - top) / 80]
    assert [float(n[:-1]) for n in style] == pytest.approx(expected, abs=0.01)
    part(tab, "method").select_option("layer")
    assert part(tab, "layer").is_enabled()


def test_arrow_keys_move_the_cell_and_stop_at_the_edges(tab, saved):
    made = sprites.of_prompt(
        saved, explored.said(saved, 0, "one"), "ratio"
    )  # 4 rows, 6 columns
    part(tab, "frame").focus()
    path = (
        "ArrowDown ArrowRight ArrowRight ArrowUp ArrowUp End ArrowRight PageDown Home"
    )
    places = [(1, 0), (1, 1), (1, 2), (0, 2), (0, 2), (0, 5), (0, 5), (3, 5), (3, 0)]
    for key, place in zip(path.split(), places, strict=True):
        arrow = key in ("Down", "Right", "Up")
        tab.keyboard.press(f"Arrow{key}" if arrow else key)
        assert said_value(tab)[:2] == place
        check(tab, made, 1, 0)
    tab.keyboard.press("Enter")
    amap = made.values[1, 0]
    assert said_value(tab)[:2] == np.unravel_index(amap.argmax(), amap.shape)


def test_the_pointer_reads_the_cell_below_it(tab, saved):
    place = part(tab, "map").bounding_box()
    for row, col in ((0, 0), (3, 5), (2, 1)):
        tab.mouse.move(
            place["x"] + (col + 0.5) * place["width"] / 6,
            place["y"] + (row + 0.5) * place["height"] / 4,
        )
        assert said_value(tab)[:2] == (row, col)
        check(
            tab, sprites.of_prompt(saved, explored.said(saved, 0, "one"), "ratio"), 1, 0
        )


def test_what_is_painted_is_the_maps_color(tab, saved):
    """A cell's pixel on the screen, map opaque and all outlines off."""
    part(tab, "opacity").fill("100")
    part(tab, "show-crop").uncheck()
    part(tab, "show-truth").uncheck()
    part(tab, "head").select_option("2")
    amap = sprites.of_prompt(saved, explored.said(saved, 0, "one"), "ratio").values[
        1, 2
    ]
    shot = Image.open(io.BytesIO(part(tab, "frame").screenshot())).convert("RGB")
    for row, col in np.ndindex(4, 6):
        if (row, col) == (0, 0):  # the cursor is there
            continue
        at = ((col + 0.5) * shot.width / 6, (row + 0.5) * shot.height / 4)
        level = round(255 * float(amap[row, col] / amap.max()))
        color = matplotlib.colormaps["viridis"](level, bytes=True)[:3]
        assert shot.getpixel(tuple(map(int, at))) == pytest.approx(color, abs=4)


THEME = (
    '<style>[data-theme="dark"] div.cell_output img, [data-theme="dark"] .text_html'
    " {{ background: white; padding: 8px; }}</style>"
    '<div class="cell_output" style="width: {}px"><div class="text_html">'
)
"""What the book's theme does to pictures where it is dark, its column so wide."""


@pytest.mark.parametrize("width", [320, 600, 900])
def test_the_map_lies_over_its_image_in_any_column(opened, saved, width):
    block = page.Explorer(saved).html()
    tab = opened(THEME.format(width), block, theme=' data-theme="dark"')
    image, amap = part(tab, "image").bounding_box(), part(tab, "map").bounding_box()
    assert image["width"] / image["height"] == pytest.approx(120 / 80, rel=0.01)
    for side in ("x", "y", "width", "height"):
        assert amap[side] == pytest.approx(image[side], abs=1)
    assert part(tab, "image").evaluate("e => getComputedStyle(e).padding") == "0px"
    assert tab.evaluate("document.body.scrollWidth <= innerWidth")


def test_opacity_and_boxes_can_be_changed_by_keys(tab):
    assert part(tab, "map").evaluate("e => e.style.opacity") == "0.65"
    part(tab, "opacity").focus()
    tab.keyboard.press("End")
    assert part(tab, "map").evaluate("e => e.style.opacity") == "1"
    for name, box in (("show-crop", "crop"), ("show-truth", "truth")):
        assert part(tab, box).is_visible()
        part(tab, name).focus()
        tab.keyboard.press("Space")
        assert part(tab, box).is_hidden()


def test_the_curve_says_each_layers_ratio_and_marks_the_chosen(tab, saved):
    made = sprites.of_prompt(saved, explored.said(saved, 0, "one"), "ratio")
    part(tab, "head").select_option("3")
    told = part(tab, "curve").get_attribute("aria-label")
    for layer, line in enumerate(made.ratios()):
        assert f"layer {layer}: {three(line[3]):g}" in told
    marked = part(tab, "curve").locator("circle.chosen")
    assert marked.count() == 1
    before = float(marked.get_attribute("cx"))
    part(tab, "layer").fill("3")
    assert float(marked.get_attribute("cx")) > before
    assert part(tab, "curve").locator("circle").count() == 4


def test_without_a_box_there_is_no_curve_and_texts_stay_texts(tab):
    part(tab, "sample").select_option("1")
    assert part(tab, "curve-box").is_hidden()
    assert "Attention ratio" not in status(tab)
    assert explored.EVIL in part(tab, "question").text_content()
    assert explored.EVIL in part(tab, "answers").text_content()
    assert explored.EVIL in part(tab, "image").get_attribute("alt")
    assert tab.title() == "explorer" and tab.locator("main b").count() == 0


def test_all_controls_are_reached_by_tab_and_show_it(tab):
    names = []
    for _ in range(11):
        tab.keyboard.press("Tab")
        name, width, style = tab.evaluate(
            "(e => [e.dataset.part, getComputedStyle(e).outlineWidth,"
            " getComputedStyle(e).outlineStyle])(document.activeElement)"
        )
        assert (width, style) == ("3px", "solid"), name
        names.append(name)
    assert (
        names
        == (
            "sample model method layer head prompt opacity show-crop show-truth"
            " word frame"
        ).split()
    )


def test_two_explorers_on_a_page_do_not_disturb_each_other(opened, saved):
    block = page.Explorer(saved)
    tab = opened(block._repr_html_(), block._repr_html_())
    first, second = tab.locator('[data-part="status"]').all()
    before = second.text_content()
    part(tab, "layer").fill("3")
    assert "layer 3" in first.text_content()
    assert second.text_content() == before
    names = tab.evaluate("Object.keys(window).filter(n => /vicrop|root|look/.test(n))")
    assert names == []


def test_few_layers_keep_their_numbers(opened, saved):
    tab = opened(page.Explorer(saved, every=3).html())
    part(tab, "layer").fill("2")
    check(
        tab,
        sprites.of_prompt(saved, explored.said(saved, 0, "one"), "ratio", [0, 1, 3]),
        2,
        0,
    )
    assert "layer 3" in status(tab)


def test_without_a_script_the_page_says_so(browser, saved, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(SHELL.format("", page.Explorer(saved).html()), encoding="utf-8")
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(file.as_uri())
    assert tab.locator("main").inner_text().split("\n")[-1] == page.OFF
    assert tab.locator("select, input, [tabindex]").count() == 0
    context.close()


@pytest.mark.skipif(not AXE, reason="VICROP_AXE names no axe.min.js")
@pytest.mark.parametrize("theme", ["", ' data-theme="light"', ' data-theme="dark"'])
def test_axe_finds_nothing(opened, saved, theme):
    tab = opened(page.Explorer(saved).html(), theme=theme)
    tab.add_script_tag(content=Path(AXE).read_text(encoding="utf-8"))
    found = tab.evaluate("axe.run()")
    print(json.dumps({name: len(found[name]) for name in ("violations", "passes")}))
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []
