import pytest
import torch
from torch import nn

from vicrop.capture import last_token_only


@pytest.fixture
def module():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 3))


def test_last_token_is_as_it_was_and_the_others_are_not_run(module):
    hidden, seen = torch.randn(2, 5, 4), []
    plain = module(hidden)
    handle = module[0].register_forward_hook(lambda m, g, out: seen.append(out.shape))
    with last_token_only([module]):
        found = module(hidden)
    handle.remove()
    assert found.shape == plain.shape and seen == [(2, 1, 6)]
    torch.testing.assert_close(found[:, -1], plain[:, -1])


def test_gradient_is_the_last_tokens(module):
    hidden = torch.randn(1, 5, 4, requires_grad=True)
    (wanted,) = torch.autograd.grad(module(hidden)[:, -1].sum(), hidden)
    with last_token_only([module]):
        (found,) = torch.autograd.grad(module(hidden)[:, -1].sum(), hidden)
    torch.testing.assert_close(found, wanted)
    assert not found[:, :-1].any()


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_modules_are_as_before_however_the_body_ends(module, error):
    other = nn.Linear(4, 4)
    other.forward = own = lambda hidden: 2 * hidden  # as some libraries set it
    try:
        with last_token_only([module, other]):
            if error is not None:
                raise error
    except (ValueError, KeyboardInterrupt) as raised:
        assert isinstance(raised, error)
    assert "forward" not in vars(module) and other.forward is own
