import matplotlib.pyplot as plt

from workflow import formats
from workflow.formats import SVG

CHART = "<svg><metadata>\n <date>now</date>\n</metadata><path d='M0 0'/></svg>"


def test_chart_is_left_without_its_date():
    kept = formats.undated({SVG: CHART, "text/plain": "<Figure>"})
    assert kept == {SVG: "<svg><path d='M0 0'/></svg>", "text/plain": "<Figure>"}


def test_only_what_shows_a_picture_is_no_chart():
    figure, axes = plt.subplots(1, 2)
    axes[0].plot([1, 2])
    axes[1].pcolormesh([[1, 2], [3, 4]])
    assert formats.is_chart(figure)
    assert formats.only(lambda _: "drawn", True)(figure) == "drawn"
    assert formats.only(lambda _: "drawn", False)(figure) is None
    axes[0].imshow([[1, 2], [3, 4]])
    assert not formats.is_chart(figure)
    plt.close(figure)
