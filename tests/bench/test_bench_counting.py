import pytest
import torch
from torch import nn
from transformers import DynamicCache, LlamaConfig, LlamaModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from benchmarks import counting


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_products_are_counted_forward_and_backward(device):
    layer = nn.Linear(5, 7, bias=False, device=device).requires_grad_(False)
    given = torch.ones(3, 5, device=device, requires_grad=True)
    forward = 2 * 3 * 5 * 7
    assert counting.flops(lambda: layer(given)) == forward

    def both():
        torch.autograd.grad(layer(given).sum(), given)

    assert counting.flops(both) == 2 * forward


def test_what_is_made_of_products_is_counted():
    a, b = torch.ones(2, 3, 4), torch.ones(2, 4, 5)
    assert counting.flops(lambda: torch.einsum("bij,bjk->bik", a, b)) == 2 * 2 * 60
    with torch.inference_mode():
        assert counting.flops(lambda: nn.functional.linear(a, a[0])) == 2 * 6 * 4 * 3


def llama(device, **more):
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        **more,
    )
    with torch.device(device):
        return LlamaModel(config).eval()


def run(model, cache, tokens):
    given = torch.empty(1, tokens, 32, device=model.embed_tokens.weight.device)
    model(inputs_embeds=given, cache=cache, use_cache=True)


# A layer's q, o, k, v and three of the MLP; two heads of keys for four of queries.
DENSE = 2 * (32 * 32 * 2 + 32 * 16 * 2 + 3 * 32 * 48)


@torch.no_grad()
def test_model_on_meta_is_counted_by_hand():
    model = llama("meta")
    cache = DynamicCache(config=model.config)
    first = counting.flops_on_meta(lambda: run(model, cache, 7))
    assert first.dense == 3 * 7 * DENSE
    assert first.full == 3 * 4 * 32 * 7 * 7
    assert first.causal == 3 * 4 * 32 * (7 * 8 // 2)
    second = counting.flops_on_meta(lambda: run(model, cache, 3))
    assert second.full == 3 * 4 * 32 * 3 * 10
    assert second.causal == 3 * 4 * 32 * (8 + 9 + 10)


@torch.no_grad()
def test_count_on_meta_is_that_of_a_real_run():
    counts = []
    for device in ("cpu", "meta"):
        model = llama(device, attn_implementation="eager")
        cache = DynamicCache(config=model.config)
        counts.append(counting.flops_on_meta(lambda m=model, c=cache: run(m, c, 7)))
    assert counts[0] == counts[1] and counts[0].full == 0  # eager: all are products


def test_attention_is_the_models_own_again():
    def own():
        return ALL_ATTENTION_FUNCTIONS["sdpa"], ALL_MASK_ATTENTION_FUNCTIONS["sdpa"]

    before = own()
    with pytest.raises(KeyboardInterrupt), counting.fused_attention(counting.Flops()):
        assert own() != before
        raise KeyboardInterrupt
    assert own() == before


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_peak_is_the_most_that_lived_at_one_time(device):
    def call():
        one = torch.ones(100, device=device)  # 400 bytes
        two = one + 1
        del one
        three = two * 2
        view = three[:50]
        return view.sum()

    assert counting.peak_bytes(call) in range(800, 830)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_peak_counts_what_a_graph_keeps(device):
    leaf = torch.ones(1000, device=device, requires_grad=True)

    def call(grad):
        with torch.set_grad_enabled(grad):
            value = leaf
            for _ in range(10):
                value = value.exp()
            return value

    assert counting.peak_bytes(lambda: call(False)) == 8000
    assert counting.peak_bytes(lambda: call(True)) == 40000
