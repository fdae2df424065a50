import json

import pytest
import torch
from torch import nn

from embedded import fit as module
from embedded.fit import Schedule, Workers, fit, restore, save

SCHEDULE = Schedule(steps=11, batch=4, rate=1e-2, warmup=3, hold=0.3)


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """Save every fourth step, log every second one."""
    monkeypatch.setattr(module, "SAVE_EVERY", 4)
    monkeypatch.setattr(module, "LOG_EVERY", 2)


class Crash(Exception):
    pass


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))


def train(folder, crash_at=None, seed=1, steps=None):
    """Train a small network for a stage; fails at a step if asked to."""
    net = network()

    def loss_of(step, rng):
        if step == crash_at:
            raise Crash
        if steps is not None:
            steps.append(step)
        inputs = torch.from_numpy(rng.standard_normal((SCHEDULE.batch, 3))).float()
        loss = (net(inputs) - inputs.sum(1, keepdim=True)).pow(2).mean()
        return loss, {"seen": (float(step), 2)}

    fit("stage", SCHEDULE, net, loss_of, folder, Workers(0, 1), seed)
    return net


def curves(folder):
    rows = json.loads((folder / "stage.json").read_text())
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def same(one, two):
    return all(
        torch.equal(first, second)
        for first, second in zip(
            one.state_dict().values(), two.state_dict().values(), strict=True
        )
    )


@pytest.fixture
def folders(tmp_path):
    for name in ("whole", "again"):
        (tmp_path / name).mkdir()
    return tmp_path / "whole", tmp_path / "again"


@pytest.mark.parametrize("crashes", [[1], [4], [7], [9], [3, 6, 6, 10]])
def test_resumed_training_equals_undisturbed_training_bit_by_bit(folders, crashes):
    whole, again = folders
    wanted = train(whole)
    for step in crashes:
        with pytest.raises(Crash):
            train(again, crash_at=step)
    found = train(again)
    assert same(found, wanted)
    name = "stage.safetensors"
    assert (whole / name).read_bytes() == (again / name).read_bytes()
    assert curves(again) == curves(whole)


def test_training_goes_on_from_its_last_checkpoint(folders):
    _, folder = folders
    with pytest.raises(Crash):
        train(folder, crash_at=7)
    steps = []
    train(folder, steps=steps)
    assert steps == list(range(4, 11))


@pytest.mark.parametrize("torn", [(module, "save"), (module.Curves, "write")])
def test_crash_between_the_two_files_of_a_checkpoint_does_no_harm(
    folders, monkeypatch, torn
):
    """Killed after the curves are written, or before: the next start is the same."""
    whole, again = folders
    wanted = train(whole)
    calls, write = [], getattr(*torn)

    def second_fails(*args):
        calls.append(args)
        if len(calls) == 2:
            raise Crash
        write(*args)

    monkeypatch.setattr(*torn, second_fails)
    with pytest.raises(Crash):
        train(again)
    assert same(train(again), wanted)
    assert curves(again) == curves(whole)


def test_torn_checkpoint_leaves_the_one_before(folders):
    _, folder = folders
    with pytest.raises(Crash):
        train(folder, crash_at=6)
    (folder / "stage.part").write_bytes(b"half a checkpo")
    steps = []
    train(folder, steps=steps)
    assert steps[0] == 4


def test_finished_stage_is_loaded_and_not_trained(folders):
    whole, _ = folders
    wanted = train(whole)
    steps = []
    assert same(train(whole, steps=steps), wanted)
    assert steps == []


def test_training_changes_weights_and_is_the_seeds(folders):
    one, two = folders
    trained, other = train(one, seed=1), train(two, seed=2)
    assert not same(trained, network())
    assert not same(trained, other)


def test_curves_are_means_since_the_last_line(folders):
    train(folders[0])
    rows = curves(folders[0])
    assert [row["step"] for row in rows] == [2, 4, 6, 8, 10, 11]
    assert [row["seen"] for row in rows] == [0.25, 1.25, 2.25, 3.25, 4.25, 5.0]


def test_frozen_weights_stay_as_they_are(tmp_path):
    net = network()
    net[0].requires_grad_(False)
    before = net[0].weight.clone()

    def loss_of(step, rng):
        return net(torch.ones(2, 3)).pow(2).mean(), {}

    fit("stage", SCHEDULE, net, loss_of, tmp_path, Workers(0, 1), seed=1)
    assert torch.equal(net[0].weight, before)
    assert not torch.equal(net[2].weight, network()[2].weight)


def test_rate_warms_up_is_held_and_falls_to_three_percent():
    schedule = Schedule(steps=1000, batch=1, rate=2.0, warmup=50, hold=0.5)
    rates = [schedule.rate_at(step) for step in range(1000)]
    assert rates[0] == pytest.approx(2 / 50)
    assert rates[24] == pytest.approx(1.0)
    assert all(rate == pytest.approx(2) for rate in rates[49:501])
    assert rates[750] == pytest.approx(2 * 0.515, rel=1e-2)
    assert rates[-1] == pytest.approx(0.06, rel=1e-2)
    assert rates[500:] == sorted(rates[500:], reverse=True)


def test_restore_without_a_file_starts_at_zero(tmp_path):
    net = network()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    assert restore(tmp_path / "none.safetensors", net, optimizer) == 0
    assert same(net, network())


def test_what_is_saved_is_restored(tmp_path):
    net = network()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        net(torch.ones(2, 3)).sum().backward()
        optimizer.step()
    save(tmp_path / "a.safetensors", net, optimizer, step=3)
    other = network()
    fresh = torch.optim.AdamW(other.parameters(), lr=0.1)
    assert restore(tmp_path / "a.safetensors", other, fresh) == 3
    assert same(other, net)
    for net_, optimizer_ in ((net, optimizer), (other, fresh)):
        optimizer_.zero_grad()
        net_(torch.ones(2, 3)).sum().backward()
        optimizer_.step()
    assert same(other, net)


def test_gradients_are_averaged_over_the_workers(monkeypatch):
    net = network()
    net(torch.ones(2, 3)).sum().backward()
    net[2].bias.grad = None  # not reached by this worker's loss
    wanted = [None if p.grad is None else p.grad.clone() for p in net.parameters()]
    # The other worker's gradients are three times ours.
    monkeypatch.setattr(module.dist, "all_reduce", lambda flat: flat.mul_(4))
    Workers(0, 2).average(list(net.parameters()))
    for parameter, grad in zip(net.parameters(), wanted, strict=True):
        told = torch.zeros_like(parameter) if grad is None else grad * 2
        torch.testing.assert_close(parameter.grad, told)


def test_a_worker_alone_averages_nothing():
    net = network()
    Workers(0, 1).average(list(net.parameters()))
    assert all(parameter.grad is None for parameter in net.parameters())


def test_workers_see_different_data(tmp_path):
    drawn = []

    def train_as(rank):
        net = network()

        def loss_of(step, rng):
            drawn.append(rng.random())
            return net(torch.ones(1, 3)).sum(), {}

        fit("stage", Schedule(1, 1, 0.1), net, loss_of, tmp_path, Workers(rank, 1), 0)
        (tmp_path / "stage.safetensors").unlink(missing_ok=True)

    for rank in (0, 1, 0):
        train_as(rank)
    assert drawn[0] == drawn[2] != drawn[1]
