import numpy as np

from analysis import steps
from vicrop import attribution
from vicrop.attribution import GENERAL_QUESTION

QUESTION = "what digit is on the red plate?"


def test_fewer_steps_are_cell_means_of_fewer_factors(vlm, view, picture):
    maps = steps.filter_maps(view, QUESTION)
    about, general = (
        attribution.paper.pixel_gradient(vlm, [view.whole.ask(text)])[0][0]
        for text in (QUESTION, GENERAL_QUESTION)
    )
    detail = attribution.paper.high_pass(picture, about.shape)
    mask = detail > np.median(detail)
    grid = view.whole.seen.grid
    for name, pixels in (
        ("gradient", about),
        ("gradient × mask", about * mask),
        ("ratio", about / general),
        ("ratio × mask", about / general * mask),
    ):
        expected = attribution.paper.cell_means(pixels[None], grid)[0]
        np.testing.assert_allclose(maps.pop(name).values, expected, rtol=1e-4)
    assert not maps


def test_all_steps_of_pure_grad_are_its_map(view):
    whole = view.importance(QUESTION, "pure-grad")
    made = steps.filter_maps(view, QUESTION)["ratio × mask"]
    np.testing.assert_allclose(made.values, whole.values, rtol=1e-4)


def test_steps_of_a_wide_image_lie_where_the_model_sees_it(vlm, picture):
    view = vlm.look(picture.resize((600, 300)))
    made = steps.filter_maps(view, QUESTION)
    assert {amap.region for amap in made.values()} == {(150, 0, 450, 300)}
