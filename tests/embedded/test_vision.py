import numpy as np
import pytest
import torch

from embedded import dense, models, vision
from embedded.models import GRID
from embedded.scenes import CHARS, TEXTURES


@pytest.fixture(scope="module")
def seeing():
    torch.manual_seed(0)
    return vision.Dense(models.llava().model.vision_tower)


def test_every_step_has_a_view_of_its_phase():
    for step in range(vision.SCHEDULE.steps):
        view = vision.view_at(step)
        phase = next(p for p in vision.SIZES if step < p[0])
        enlarged = (view.side, view.plates) == vision.ENLARGED
        assert enlarged or (view.side, view.plates) == phase[1:]
        assert enlarged <= (phase is vision.SIZES[2])
        assert (view.scale <= 1) if enlarged else view.scale in (1, 2)
        assert 96 * view.scale == round(96 * view.scale)


def test_logits_are_a_patch_and_a_head(seeing):
    logits = seeing(torch.zeros(2, 3, 96, 96))
    shapes = {name: tuple(value.shape) for name, value in logits.items()}
    assert shapes == {
        "color": (2, GRID**2, dense.NO_PLATE + 1),
        "char": (2, GRID**2, len(CHARS)),
        "texture": (2, GRID**2, len(TEXTURES)),
    }


def test_loss_reaches_every_trained_weight(seeing, monkeypatch):
    monkeypatch.setattr(vision, "SCHEDULE", vision.Schedule(1, 2, 1e-3))
    loss, metrics = seeing.loss(3, np.random.default_rng(0))
    loss.backward()
    assert loss.isfinite()
    assert {"color", "texture"} <= set(metrics)
    without = [name for name, p in seeing.named_parameters() if p.grad is None]
    # CLIP's last norm is of the class token, which LLaVA drops.
    assert all("post_layernorm" in name for name in without)
    seeing.zero_grad()


def test_loss_of_a_step_is_the_same_every_time(seeing, monkeypatch):
    monkeypatch.setattr(vision, "SCHEDULE", vision.Schedule(1, 2, 1e-3))
    with torch.no_grad():
        losses = {seeing.loss(4, np.random.default_rng(9))[0].item() for _ in range(2)}
    assert len(losses) == 1


def test_loss_where_nothing_is_labelled_is_zero():
    logits = torch.randn(1, 4, 3, requires_grad=True)
    loss = vision._entropy(logits, torch.full((1, 4), dense.IGNORE))
    loss.backward()
    assert loss.item() == 0 and (logits.grad == 0).all()


def test_accuracies_count_labelled_patches_only():
    wanted = torch.tensor([[0, 1, dense.NO_PLATE, dense.IGNORE]])
    labels = {
        "color": wanted,
        "char": torch.tensor([[5, 6, dense.IGNORE, dense.IGNORE]]),
        "texture": torch.tensor([[dense.IGNORE, dense.IGNORE, 2, 3]]),
        "side": torch.tensor([[7.0, 12.0, 0.0, 8.0]]),
    }

    def says(*classes):
        return torch.nn.functional.one_hot(torch.tensor([classes]), 20).float()

    logits = {
        "color": says(0, 0, 3, 1),
        "char": says(5, 7, 5, 5),
        "texture": says(0, 0, 2, 2),
    }
    found = vision.accuracies(logits, labels)
    assert found["color"] == (1, 2)
    assert found["texture"] == (1, 2)
    assert found["char 6-9 px"] == (1, 1)
    assert found["char 11-14 px"] == (0, 1)
    assert found["char 20-30 px"] == (0, 0)


def test_positions_start_as_a_different_sine_for_every_patch():
    tower = models.llava().model.vision_tower
    before = tower.embeddings.position_embedding.weight[0].clone()
    vision.sine_positions(tower)
    table = tower.embeddings.position_embedding.weight.detach()
    assert torch.equal(table[0], before)
    assert torch.cdist(table[1:], table[1:]).fill_diagonal_(9).min() > 0.01
    # Neighbours are alike: the same row shares half of its numbers.
    half = table.shape[1] // 2
    assert torch.equal(table[1, :half], table[2, :half])
    assert torch.equal(table[1, half:], table[1 + GRID, half:])


class Mirror(torch.nn.Module):
    """A student with one number to learn: the share of the pixels' means it tells."""

    def __init__(self):
        super().__init__()
        self.share = torch.nn.Parameter(torch.tensor(0.0))

    def forward(self, pixels):
        return self.share * block_means(pixels)


def block_means(pixels):
    means = torch.nn.functional.avg_pool2d(pixels, models.PATCH_PX)
    return means.flatten(2).transpose(1, 2)


def test_distilled_student_explains_its_teacher_when_it_is_its_equal(rng):
    distilled = vision.Distilled(Mirror(), block_means, size=2)
    loss, metrics = distilled.loss(0, rng)
    assert metrics["explained"] == (pytest.approx(1 - loss.item()), 1)
    assert metrics["explained"][0] < 0.5
    loss.backward()
    assert distilled.student.share.grad < 0
    with torch.no_grad():
        distilled.student.share.fill_(1)
    assert distilled.loss(0, rng)[1]["explained"][0] == pytest.approx(1)


def test_teacher_is_no_part_of_the_students_checkpoint():
    assert list(vision.Distilled(Mirror(), block_means).state_dict()) == [
        "student.share"
    ]
