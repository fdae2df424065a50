import numpy as np
import pytest

from analysis import steps
from vicrop import attribution, boxes
from vicrop.attribution import GENERAL_QUESTION

QUESTION = "what digit is on the red plate?"


@pytest.fixture
def vlms(vlm):
    return {"one": vlm, "other": vlm}


def test_methods_are_the_views_maps_with_the_crops_they_choose(vlms, vlm, picture):
    made = steps.methods(vlms, picture, QUESTION)
    assert list(made) == ["one", "other"]
    assert list(made["one"]) == ["rel-att", "grad-att", "pure-grad"]
    view = vlm.look(picture)
    for method, (amap, box) in made["other"].items():
        np.testing.assert_array_equal(
            amap.values, view.importance(QUESTION, method).values
        )
        assert box == boxes.select_box(amap, picture.size, vlm.crop_px)


def test_divisions_are_of_the_same_two_attentions(vlms, picture):
    row = steps.divisions(vlms, picture, QUESTION)["one"]
    asked, general, ratio, floor = (amap.values for amap, _ in row.values())
    np.testing.assert_allclose(ratio, asked / general, rtol=1e-5)
    even = 1 / general.size
    np.testing.assert_allclose(floor, asked / np.maximum(general, even), rtol=1e-5)
    chosen = {name: box is not None for name, (_, box) in row.items()}
    assert chosen.pop("general prompt") is False and all(chosen.values())


def test_steps_of_pure_grad_lead_to_its_map(vlm, view, picture):
    made = steps.filter_steps(view, QUESTION)
    about, general, ratio, detail, mask, masked, last = (
        amap.values for amap, _ in made.values()
    )
    asked = attribution.paper.pixel_gradient(vlm, [view.whole.ask(QUESTION)])[0][0]
    described = attribution.paper.pixel_gradient(
        vlm, [view.whole.ask(GENERAL_QUESTION)]
    )[0][0]
    np.testing.assert_allclose(about, asked, rtol=1e-5)
    np.testing.assert_allclose(general, described, rtol=1e-5)
    np.testing.assert_allclose(ratio, asked / described, rtol=1e-5)
    np.testing.assert_allclose(
        detail, attribution.paper.high_pass(picture, about.shape), 1e-5
    )
    assert set(np.unique(mask)) == {0, 1} and mask.mean() == pytest.approx(0.5, abs=0.1)
    np.testing.assert_allclose(masked, ratio * mask, rtol=1e-5)
    whole = view.importance(QUESTION, "pure-grad")
    np.testing.assert_allclose(last, whole.values, rtol=1e-4)
    crops = [box for _, box in made.values()]
    assert crops[:-1] == [None] * 6
    assert crops[-1] == boxes.select_box(whole, picture.size, vlm.crop_px)


def test_fewer_steps_are_cell_means_of_fewer_factors(view):
    maps = steps.filter_maps(view, QUESTION)
    made = {name: amap.values for name, (amap, _) in _named(view).items()}
    grid = view.whole.seen.grid
    for name, pixels in (
        ("gradient", made["about"]),
        ("gradient × mask", made["about"] * made["mask"]),
        ("ratio", made["ratio"]),
        ("ratio × mask", made["ratio"] * made["mask"]),
    ):
        expected = attribution.paper.cell_means(pixels[None], grid)[0]
        np.testing.assert_allclose(maps.pop(name).values, expected, rtol=1e-4)
    assert not maps


def _named(view):
    names = "about general ratio detail mask masked last".split()
    return dict(zip(names, steps.filter_steps(view, QUESTION).values(), strict=True))


def test_steps_of_a_wide_image_lie_where_the_model_sees_it(vlm, picture):
    view = vlm.look(picture.resize((600, 300)))
    made = steps.filter_steps(view, QUESTION)
    assert {amap.region for amap, _ in made.values()} == {(150, 0, 450, 300)}
