import numpy as np
import pytest

from vicrop.types import Answer, Box, Map, check_question


def test_box_measures_itself_in_pixels():
    box = Box(10, 20, 40, 60)
    assert (box.width, box.height) == (30, 40)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones(4), r"must be \(rows, cols\), got shape \(4,\)"),
        (np.ones((2, 2, 3)), r"got shape \(2, 2, 3\)"),
        (np.ones((0, 3)), r"got shape \(0, 3\)"),
        ([[1, np.nan], [1, 1]], "has 1 cells that are NaN or infinite"),
        ([[np.inf, -np.inf]], "has 2 cells that are NaN or infinite"),
        ([[1, 1e300]], "has 1 cells that are NaN or infinite"),
        ([[1, -0.5]], r"has a negative cell \(-0.5\)"),
        (np.zeros((3, 3)), "zero everywhere"),
        ([[0, 1e-300]], "zero everywhere"),
    ],
)
def test_map_refuses_values_that_point_nowhere(values, message):
    with pytest.raises(ValueError, match=message):
        Map(values)


def test_map_keeps_its_own_float32_copy():
    values = np.ones((2, 3))
    amap = Map(values)
    values[:] = 7
    assert amap.values.dtype == np.float32
    assert amap.shape == (2, 3)
    assert (amap.values == 1).all()


def test_map_of_float32_is_a_copy_too():
    values = np.ones((2, 3), np.float32)
    amap = Map(values)
    values[:] = 7
    assert (amap.values == 1).all()


@pytest.mark.parametrize("question", ["", " ", "\n\t "])
def test_empty_question_is_refused(question):
    with pytest.raises(ValueError, match="the question is empty"):
        check_question(question)


def test_answer_without_a_crop_has_no_box_and_no_map():
    answer = Answer("4", "4")
    assert answer.box is None and answer.amap is None
