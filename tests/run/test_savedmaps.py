import numpy as np
import pytest

from vicrop.run.savedmaps import SavedMap
from vicrop.types import Map


@pytest.mark.parametrize("region", [None, (0.5, 1.0, 20.25, 30.0)])
def test_map_comes_back_to_the_last_bit(rng, region):
    amap = Map(rng.random((3, 5)) ** 9, region)
    line = SavedMap.of("ü", amap).line()
    saved = SavedMap.from_line(line)
    back = saved.map()
    assert saved.id == "ü" and line.count("\n") == 1
    assert back.values.tobytes() == amap.values.tobytes()
    assert (back.shape, back.region) == ((3, 5), region)


def test_changed_map_is_refused(rng):
    line = SavedMap.of("a", Map(rng.random((3, 5)))).line()
    with pytest.raises(ValueError, match="checksum"):
        SavedMap.from_line(line.replace('"a"', '"b"'))


def test_even_map_takes_a_few_bytes():
    assert len(SavedMap.of("a", Map(np.ones((24, 24)))).line()) < 200
