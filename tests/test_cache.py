import pytest
import torch
from transformers import DynamicCache

from vicrop import cache as kept

IDS = torch.arange(22).reshape(2, 11)


@pytest.fixture
def filled(llama):
    cache = DynamicCache(config=llama.config)
    llama(IDS[:, :7], cache=cache, use_cache=True)
    return cache


@torch.no_grad()
def test_growing_a_branch_leaves_its_parent_as_it_is(llama, filled):
    before = [tensor.clone() for tensor in kept.tensors(filled)]
    one, two = kept.branch(filled), kept.branch(filled)
    llama(IDS[:, 7:], cache=one, use_cache=True)
    llama(IDS[:, 7:9], cache=two, use_cache=True)
    assert [grown.get_seq_length() for grown in (filled, one, two)] == [7, 11, 9]
    after = kept.tensors(filled)
    assert len(after) == 8
    assert all(torch.equal(*pair) for pair in zip(after, before, strict=True))


@torch.no_grad()
def test_branch_without_the_last_token_grows_to_the_same(llama, filled):
    again = kept.without_last(filled)
    assert (again.get_seq_length(), filled.get_seq_length()) == (6, 7)
    llama(IDS[:, 6:7], cache=again, use_cache=True)
    for one, other in zip(kept.tensors(again), kept.tensors(filled), strict=True):
        torch.testing.assert_close(one, other)


def test_detached_branch_has_the_values_and_no_graph(llama, filled):
    assert all(tensor.requires_grad for tensor in kept.tensors(filled))
    free = kept.detached(filled)
    for one, other in zip(kept.tensors(free), kept.tensors(filled), strict=True):
        assert torch.equal(one, other) and not one.requires_grad
    assert all(tensor.requires_grad for tensor in kept.tensors(filled))


@torch.no_grad()
def test_caches_side_by_side_are_padded_on_the_left(llama, filled):
    longer = kept.branch(filled)
    llama(IDS[:, 7:9], cache=longer, use_cache=True)
    both, mask = kept.side_by_side([filled, longer])
    assert mask.tolist() == [[0, 0, *[1] * 7]] * 2 + [[1] * 9] * 2
    for layer, one, other in zip(
        both.layers, filled.layers, longer.layers, strict=True
    ):
        assert torch.equal(layer.keys[:2, :, 2:], one.keys)
        assert torch.equal(layer.values[2:], other.values)
        assert not layer.keys[:2, :, :2].any()
    assert kept.side_by_side([filled])[1] is None


def test_size_is_that_of_keys_and_values(llama, filled):
    # layers · (keys, values) · batch · key heads · tokens · head size · float32
    assert kept.size(filled) == 4 * 2 * 2 * 2 * 7 * 8 * 4
    assert kept.size(None) == kept.size(DynamicCache(config=llama.config)) == 0
