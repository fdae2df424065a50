import pytest
import torch
from transformers import DynamicCache

from vicrop.adapters import cache as kept

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


@torch.no_grad()
def test_batch_taken_apart_is_what_was_put_together(llama):
    """Caches of 7 and 4 tokens, grown side by side by 2 and 3 of theirs."""
    lengths, grown, caches = [7, 4], [2, 3], []
    for row, length in enumerate(lengths):
        caches.append(DynamicCache(config=llama.config))
        llama(IDS[row : row + 1, :length], cache=caches[-1], use_cache=True)
    both, mask = kept.side_by_side(caches, depth=3)
    assert len(both.layers) == 3
    assert mask.tolist() == [[1] * 7, [0] * 3 + [1] * 4]
    for layer in both.layers:
        more = torch.arange(2 * 2 * 3 * 8.0).reshape(2, 2, 3, 8)
        layer.update(more, -more)
    one, other = kept.apart(both, kept.cuts([1, 1], lengths, grown))
    assert [found.get_seq_length() for found in (one, other)] == [9, 7]
    assert kept.tensors(both) == []
    for found, cache, count, row in ((one, caches[0], 2, 0), (other, caches[1], 3, 1)):
        for layer, parent in zip(found.layers, cache.layers[:3], strict=True):
            wanted = torch.cat([parent.keys, more[row : row + 1, :, 3 - count :]], 2)
            assert torch.equal(layer.keys, wanted)


@torch.no_grad()
def test_batch_of_one_is_what_it_is_made_of(filled):
    """No padding, no mask, no copy."""
    alone, mask = kept.side_by_side([filled], depth=1)
    assert mask is None
    for one, other in zip(kept.tensors(alone), kept.tensors(filled), strict=True):
        assert one is other
    place, row = kept.cuts([2], [7]), torch.ones(2, 2, 7)
    assert kept.apart(alone, place) == [alone] and len(kept.tensors(alone)) == 8
    assert kept.parted(row, place)[0] is row


def test_cuts_are_stretches_of_their_own_rows():
    one, other = kept.cuts([1, 2], [3, 5], [4, 1])
    assert one == kept.Cut(slice(0, 1), (slice(2, 5), slice(5, 9)))
    assert other == kept.Cut(slice(1, 3), (slice(0, 5), slice(8, 9)))
