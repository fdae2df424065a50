"""What a model does the plain way: eagerly, whole prompts, every weight kept."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
import twins
from PIL import Image

from embedded import idefics3
from vicrop import adapters
from vicrop.attribution import GENERAL_QUESTION

KEYS = {
    "llava": "llava-1.5-7b",
    "instructblip": "instructblip-vicuna-7b",
    "qwen2.5-vl": "qwen2.5-vl-3b",  # grouped queries
}
FAMILIES = [*KEYS, "idefics3"]
QUESTION = "what digit is on the red plate?"


def make(family):
    """A small random model of a family."""
    if family == "idefics3":
        torch.manual_seed(0)
        made = adapters.wrap(idefics3.model(), idefics3.processor(), family, layer=2)
        return twins.with_heads(made)
    small = {"max_pixels": 20 * 28 * 28} if family == "qwen2.5-vl" else {}
    return twins.wrap(KEYS[family], **small)


def noise(size=(140, 84), seed=0):
    """A blotchy picture."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (3, 5, 3), np.uint8)).resize(size)


@dataclass
class Plain:
    """One whole pass.

    Attributes:
        attentions: (layers, heads, tokens, tokens).
        hidden: (layers + 1, tokens, hidden), what goes into each layer.
        values: (layers, tokens, key heads · size).
        scores: (vocabulary,) of the first answer token.
        features: (tokens, hidden) of the vision tower, a leaf.
        step: (tokens, patches) a connector's mean attention; the identity without one.
        span: of the image's tokens.
        ids: of the whole prompt.
        grid: (rows, cols).
    """

    attentions: torch.Tensor
    hidden: torch.Tensor
    values: torch.Tensor
    scores: torch.Tensor
    features: torch.Tensor
    step: np.ndarray
    span: list
    ids: list
    grid: tuple

    def words(self):
        """(layers, heads, tokens behind the image, rows, cols) attention to cells."""
        found = self.attentions[:, :, self.span[-1] + 1 :, self.span].detach().numpy()
        return (found @ self.step).reshape(*found.shape[:3], *self.grid)


def run(vlm, question, picture, pixels=None):
    """The whole prompt through an eager copy, nothing kept from anything before."""
    model = copy.deepcopy(vlm.model)
    model.set_attn_implementation("eager")
    plain = adapters.wrap(model, vlm.processor, vlm.family, vlm.layer)
    seen = plain.look_at([vlm.fitted(picture)])
    if pixels is not None:
        seen = plain.see(pixels, seen.grid, 1)
    words = plain.words(question, [seen])
    features = seen.features.detach().requires_grad_()
    seen.features = features
    crossing, modules = [], plain.facts.connector
    if modules is not None:
        module = modules.attention[modules.layer]
        module.config._attn_implementation = "eager"
        module.register_forward_hook(lambda m, a, out: crossing.append(out[1]))
    ((tokens, _),) = plain.connect([seen], [words], False)
    caught = []
    for module in plain.attention:
        module.v_proj.register_forward_hook(lambda m, a, out: caught.append(out[0]))
    output = plain.text_model(
        inputs_embeds=plain.embed(words.ids, [tokens]),
        position_ids=plain.facts.positions(words.ids, [seen.grid]),
        output_attentions=True,
        output_hidden_states=True,
    )
    ids, cells = words.ids[0].tolist(), seen.grid[0] * seen.grid[1]
    span = [n for n, token in enumerate(ids) if token == vlm.image_token_id]
    step = crossing[0][0].mean(0)[:, -cells:].detach().numpy() if crossing else None
    return Plain(
        torch.stack(output.attentions)[:, 0],
        torch.stack(output.hidden_states)[:, 0],
        torch.stack(caught),
        plain.head(output.last_hidden_state[0, -1]),
        features,
        np.eye(len(span), dtype=np.float32) if step is None else step,
        span,
        ids,
        seen.grid,
    )


def close(found, wanted, share=1e-4):
    """Assert that a map is its twin's, to a share of the twin's range."""
    assert found.shape == wanted.shape and found.dtype == np.float32
    assert np.abs(found - wanted).max() < share * np.ptp(wanted)


def both_passes(vlm):
    """Whole passes of the question and the general prompt."""
    return [run(vlm, text, noise()) for text in (QUESTION, GENERAL_QUESTION)]
