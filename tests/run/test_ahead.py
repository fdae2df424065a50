import threading

import pytest

from vicrop.run.ahead import Ahead


@pytest.fixture
def loaded():
    """Keys as they were loaded, and what loads them."""
    keys = []

    def load(key):
        keys.append(key)
        if key == "bad":
            raise OSError("cannot be read")
        return key.upper()

    return keys, load


def test_each_comes_once_in_any_order(loaded):
    keys, load = loaded
    ahead = Ahead(load, "abcdef", depth=2)
    assert [ahead(key) for key in "abcdef"] == list("ABCDEF")
    assert sorted(keys) == list("abcdef")
    ahead.close()


def test_no_more_than_depth_wait(loaded):
    keys, load = loaded
    ahead = Ahead(load, "abcdef", depth=3)
    ahead("a")
    ahead._pool.shutdown()
    assert sorted(keys) == list("abcd")


def test_loading_goes_on_while_others_work():
    met = threading.Barrier(2, timeout=10)

    def load(key):
        met.wait()
        return key

    ahead = Ahead(load, "ab", depth=2)
    assert (ahead("a"), ahead("b")) == ("a", "b")  # neither came without the other
    ahead.close()


def test_error_is_raised_where_it_is_asked_for(loaded):
    _, load = loaded
    ahead = Ahead(load, ["a", "bad", "b"], depth=3)
    assert ahead("a") == "A"
    with pytest.raises(OSError, match="cannot be read"):
        ahead("bad")
    assert ahead("b") == "B"
    ahead.close()


def test_unexpected_key_is_loaded_now(loaded):
    keys, load = loaded
    ahead = Ahead(load, "a", depth=1)
    assert (ahead("z"), ahead("z")) == ("Z", "Z")
    ahead.close()
    assert keys.count("z") == 2
