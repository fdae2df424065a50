import copy

import numpy as np
import pytest
import torch
from torch import nn
from transformers import DynamicCache, LlamaModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import eager_attention_forward

from vicrop import capture
from vicrop.adapters import cache as kept

HEADS, SIZE = 8, 16


def qkv(shared: int, queries: int, keys: int, batch: int = 2):
    torch.manual_seed(0)
    query = torch.randn(batch, HEADS, queries, SIZE)
    return query, *(torch.randn(batch, shared, keys, SIZE) for _ in range(2))


def eager_row(query, key, value, mask, scaling):
    """The last row of the full attention weights, as transformers computes them."""
    module = nn.Module().eval()
    module.num_key_value_groups = HEADS // key.shape[1]
    _, weights = eager_attention_forward(module, query, key, value, mask, scaling)
    return weights[:, :, -1]


def additive(mask):
    return torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)


def causal(batch, queries, keys, padding=0):
    """(batch, 1, queries, keys); the first sample is padded on the left."""
    mask = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
    mask = mask.repeat(batch, 1, 1, 1)
    mask[0, :, :, :padding] = False
    return mask


@pytest.mark.parametrize("shared", [HEADS, 2, 1], ids=["all heads", "gqa", "mqa"])
@pytest.mark.parametrize(("queries", "keys"), [(7, 7), (1, 7), (3, 9)])
@pytest.mark.parametrize("kind", ["none", "boolean", "additive", "padded"])
def test_row_equals_the_eager_weights_last_row(shared, queries, keys, kind):
    query, key, value = qkv(shared, queries, keys)
    mask = causal(2, queries, keys, padding=4 if kind == "padded" else 0)
    given = {"none": None, "additive": additive(mask)}.get(kind, mask)
    row = capture.last_row(query, key, given, scaling=0.3)
    told = None if kind == "none" else additive(mask)
    wanted = eager_row(query, key, value, told, scaling=0.3)
    assert row.shape == (2, HEADS, keys) and row.dtype == torch.float32
    torch.testing.assert_close(row, wanted)
    torch.testing.assert_close(row.sum(-1), torch.ones(2, HEADS))


def test_row_of_half_precision_inputs_is_computed_in_float32():
    query, key, value = qkv(2, 3, 9)
    row = capture.last_row(query.bfloat16(), key.bfloat16(), None, 0.3)
    wanted = eager_row(
        query.bfloat16().float(), key.bfloat16().float(), value, None, 0.3
    )
    torch.testing.assert_close(row, wanted)


def attention(model):
    return [layer.self_attn for layer in model.layers]


def batch():
    torch.manual_seed(2)
    ids = torch.randint(0, 50, (2, 11))
    mask = torch.ones_like(ids)
    mask[0, :4] = 0  # padded on the left
    return {"input_ids": ids, "attention_mask": mask}


def eager_rows(model, **inputs):
    """(batch, heads, keys) of every layer, from ``output_attentions``."""
    plain = LlamaModel(copy.deepcopy(model.config)).eval()
    plain.load_state_dict(model.state_dict())
    plain.set_attn_implementation("eager")
    with torch.no_grad():
        weights = plain(**inputs, output_attentions=True).attentions
    return [layer[:, :, -1] for layer in weights]


@torch.no_grad()
def test_rows_of_a_padded_batch_equal_output_attentions(llama):
    inputs = batch()
    with capture.read_rows(attention(llama)) as rows:
        llama(**inputs)
    for number, wanted in enumerate(eager_rows(llama, **inputs)):
        torch.testing.assert_close(rows[number], wanted, atol=1e-5, rtol=1e-4)
    assert rows[0][0, :, :4].abs().max() < 1e-6  # nothing looks at the padding


@torch.no_grad()
@pytest.mark.parametrize("kind", ["boolean", "additive"])
def test_rows_under_a_given_mask_equal_output_attentions(llama, kind):
    ids = batch()["input_ids"]
    mask = causal(2, 11, 11)
    mask[1, :, :, 2:5] = False
    mask[1, :, 2:5] = True  # no query may be without any key
    given = mask if kind == "boolean" else additive(mask)
    with capture.read_rows(attention(llama)) as rows:
        llama(ids, attention_mask=given)
    wanted = eager_rows(llama, input_ids=ids, attention_mask=additive(mask))
    torch.testing.assert_close(rows[3], wanted[3], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_row_read_behind_a_cache_equals_the_whole_prompts(llama):
    ids = batch()["input_ids"]
    cache = DynamicCache(config=llama.config)
    llama(ids[:, :7], cache=cache, use_cache=True)
    with capture.read_rows([attention(llama)[2]]) as rows:
        llama(ids[:, 7:], cache=kept.branch(cache), use_cache=True)
    wanted = eager_rows(llama, input_ids=ids)[2]
    torch.testing.assert_close(rows[0], wanted, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_row_read_with_an_early_stop_equals_the_row_without(llama):
    inputs = batch()
    module = attention(llama)[1]
    with capture.read_rows([module]) as stopped:
        llama(**inputs)
    with capture.read_rows([module], stop=False) as whole:
        llama(**inputs)
    assert torch.equal(stopped[0], whole[0])


@torch.no_grad()
def test_reading_does_not_change_what_the_model_computes(llama):
    inputs = batch()
    plain = llama(**inputs).last_hidden_state
    with capture.read_rows(attention(llama)[:2], stop=False):
        read = llama(**inputs).last_hidden_state
    seen = inputs["attention_mask"].bool()
    torch.testing.assert_close(read[seen], plain[seen], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_layers_above_the_last_one_read_are_not_run(llama):
    ran = []
    handles = [
        layer.register_forward_pre_hook(lambda *_, n=n: ran.append(n))
        for n, layer in enumerate(llama.layers)
    ]
    with capture.read_rows([attention(llama)[1]]):
        llama(**batch())
    for handle in handles:
        handle.remove()
    assert ran == [0, 1]


def hooks(model):
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks)
        for module in model.modules()
    )


class Boom(Exception):
    pass


@pytest.mark.parametrize("end", [None, Boom, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("stop", [True, False])
def test_nothing_is_left_behind_however_the_body_ends(llama, end, stop):
    before = [module.config for module in attention(llama)]
    state = [copy.deepcopy(config.to_dict()) for config in before]
    count = hooks(llama)
    try:
        with torch.no_grad(), capture.read_rows(attention(llama)[:3], stop=stop):
            if end is not None:
                raise end
            llama(**batch())
    except (Boom, KeyboardInterrupt, GeneratorExit) as error:
        assert isinstance(error, end)
    after = [module.config for module in attention(llama)]
    assert all(one is other for one, other in zip(before, after, strict=True))
    assert [config.to_dict() for config in after] == state
    assert llama.config._attn_implementation == "sdpa"
    assert not hasattr(llama.config, "_reader")
    assert hooks(llama) == count


def test_failure_inside_the_model_comes_through_and_leaves_nothing(llama):
    module = attention(llama)[1]
    config = module.config

    def fail(*args, **kwargs):
        raise Boom

    with pytest.raises(Boom), torch.no_grad(), capture.reader(module, fail):
        llama(**batch())
    assert module.config is config


def test_only_the_read_modules_get_another_config(llama):
    with capture.reader(attention(llama)[1], lambda *_: None):
        changed = [module.config is not llama.config for module in attention(llama)]
        assert changed == [False, True, False, False]


def test_module_without_a_config_cannot_be_read():
    with pytest.raises(RuntimeError, match="Linear does not go through transformers'"):
        with capture.reader(nn.Linear(2, 2), lambda *_: None):
            pass


def test_row_that_was_never_read_says_so(llama):
    with capture.read_rows([attention(llama)[0]]) as rows:
        pass
    with pytest.raises(RuntimeError, match="did not call the attention function"):
        rows[0]


@pytest.mark.parametrize("name", ["flex_attention", "flash_attention_3"])
def test_attention_that_masks_in_its_own_way_is_refused(vlm, view, name, monkeypatch):
    config = vlm.attention[2].config
    monkeypatch.setattr(config, "_attn_implementation_internal", name)
    with (
        pytest.raises(RuntimeError, match=f"under attn_implementation='{name}'.*sdpa"),
        capture.read_rows([vlm.attention[2]]),
    ):
        pass
    assert vlm.attention[2].config is config


# FlashAttention-2, its kernel stood in for by SDPA: it is told of padding by a mask of
# the keys alone, and takes no mask for causal.


def flash(module, query, key, value, mask, scaling=None, **kwargs):
    queries, keys = query.shape[2], key.shape[2]
    seen = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
    if mask is not None:
        assert mask.shape == (len(query), keys)
        seen = seen & mask[:, None, None].bool()
        seen = seen | torch.eye(keys, dtype=torch.bool)[keys - queries :]
    return sdpa_attention_forward(
        module, query, key, value, seen.expand(1, 1, -1, -1) if mask is None else seen
    )


@pytest.fixture
def under_flash(monkeypatch):
    """Puts a model's language model under FlashAttention-2."""
    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS, "flash_attention_2", flash)

    def put(config):
        name = "flash_attention_2"
        monkeypatch.setattr(config, "_attn_implementation_internal", name)

    return put


@torch.no_grad()
def test_rows_under_flash_attention_equal_output_attentions(llama, under_flash):
    wanted = eager_rows(llama, **batch())
    under_flash(llama.config)
    with capture.read_rows(attention(llama), stop=False) as rows:
        llama(**batch())
    for number, row in enumerate(wanted):
        torch.testing.assert_close(rows[number], row, atol=1e-5, rtol=1e-4)


def test_maps_and_answers_under_flash_attention_are_sdpas(vlm, picture, under_flash):
    question, box = "what digit is on the red plate?", (0, 0, 90, 90)
    methods = ("rel-att", "grad-att", "pure-grad", "rel-att-high")
    sdpa = vlm.look(picture)
    wanted = [sdpa.importance(question, method).values for method in methods]
    said = sdpa.ask(question, box)
    under_flash(vlm.text_model.config)
    view = vlm.look(picture)
    for method, values in zip(methods, wanted, strict=True):
        found = view.importance(question, method).values
        assert np.abs(found - values).max() <= 1e-4 * np.ptp(values)
    assert view.ask(question, box) == said
    assert vlm.text_model.config._attn_implementation == "flash_attention_2"


@torch.no_grad()
def test_body_ends_once_keys_and_values_are_there(llama):
    ids = batch()["input_ids"]
    whole, cut = (DynamicCache(config=llama.config) for _ in range(2))
    llama(ids, cache=whole, use_cache=True)
    with capture.stop_at(attention(llama)[2]):
        llama(ids, cache=cut, use_cache=True)
        raise AssertionError("the body goes on")
    lengths = [cut.get_seq_length(layer) for layer in range(4)]
    assert lengths == [11, 11, 11, 0]
    for one, other in zip(cut.layers[:3], whole.layers, strict=False):
        assert torch.equal(one.keys, other.keys)
        assert torch.equal(one.values, other.values)


# The last token alone.


@pytest.fixture
def module():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 3))


def test_last_token_is_as_it_was_and_the_others_are_not_run(module):
    hidden, seen = torch.randn(2, 5, 4), []
    plain = module(hidden)
    handle = module[0].register_forward_hook(lambda m, g, out: seen.append(out.shape))
    with capture.last_token_only([module]):
        found = module(hidden)
    handle.remove()
    assert found.shape == plain.shape and seen == [(2, 1, 6)]
    torch.testing.assert_close(found[:, -1], plain[:, -1])


def test_gradient_is_the_last_tokens(module):
    hidden = torch.randn(1, 5, 4, requires_grad=True)
    (wanted,) = torch.autograd.grad(module(hidden)[:, -1].sum(), hidden)
    with capture.last_token_only([module]):
        (found,) = torch.autograd.grad(module(hidden)[:, -1].sum(), hidden)
    torch.testing.assert_close(found, wanted)
    assert not found[:, :-1].any()


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_modules_are_as_before_however_the_body_ends(module, error):
    other = nn.Linear(4, 4)
    other.forward = own = lambda hidden: 2 * hidden  # as some libraries set it
    try:
        with capture.last_token_only([module, other]):
            if error is not None:
                raise error
    except (ValueError, KeyboardInterrupt) as raised:
        assert isinstance(raised, error)
    assert "forward" not in vars(module) and other.forward is own
