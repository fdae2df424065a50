"""tiny-instructblip: its configuration, words and processor, and where it starts.

Its vision tower is tiny-llava's, to the last digit that matters; the Q-Former and the
language model are trained in ``qformer``.
"""

import torch
from torch import nn
from transformers import (
    CLIPVisionModel,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipProcessor,
    InstructBlipQFormerConfig,
    InstructBlipVisionConfig,
    InstructBlipVisionModel,
    LlamaConfig,
    PreTrainedTokenizerFast,
)
from transformers.models.blip import BlipImageProcessorPil

from embedded import models
from embedded.models import IMAGE_PX, PATCH_PX
from vicrop.types import Stock

WORDS = (*models.WORDS, "Question:", "Short", "answer:")
"""tiny-llava's words and numbers first."""

QUERIES = 16
WIDTH = 128
FADED = 2.0**-10
"""Scale of what enters the vision tower's first layer (see ``see_as_clip``)."""


def tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer of ``WORDS``, for language model and Q-Former alike.

    It has no image token of its own: the processor adds one, as for the real models.
    """
    core = models.spaced(WORDS, r"Question:|answer:|<image>|\w+|[^\w\s]")
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        padding_side="left",
    )


def processor() -> InstructBlipProcessor:
    """InstructBLIP's own preprocessing (both sides stretched), at 96 px."""
    images = BlipImageProcessorPil(
        size={"height": IMAGE_PX, "width": IMAGE_PX},
        image_mean=[0.5] * 3,
        image_std=[0.25] * 3,
    )
    return InstructBlipProcessor(
        image_processor=images,
        tokenizer=tokenizer(),
        qformer_tokenizer=tokenizer(),
        num_query_tokens=QUERIES,
    )


def config() -> InstructBlipConfig:
    """An InstructBLIP of the same parts as the 7B one, some 3,000 times smaller."""
    return InstructBlipConfig(
        vision_config=_vision_config(),
        qformer_config=_qformer_config(),
        text_config=_text_config(),
        num_query_tokens=QUERIES,
        image_token_index=WORDS.index("<image>"),
    )


def _vision_config() -> InstructBlipVisionConfig:
    """tiny-llava's four layers, and one before them that normalises."""
    return InstructBlipVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=5,
        num_attention_heads=4,
        image_size=IMAGE_PX,
        patch_size=PATCH_PX,
        layer_norm_eps=1e-12,
    )


def _qformer_config() -> InstructBlipQFormerConfig:
    """Every layer looks at the image, where the real model's every second one does.

    So its third look, which the map is read from, is its last.
    """
    return InstructBlipQFormerConfig(
        vocab_size=len(WORDS),
        hidden_size=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=2 * WIDTH,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=64,
        pad_token_id=WORDS.index("<pad>"),
        cross_attention_frequency=1,
        encoder_hidden_size=WIDTH,
    )


def _text_config() -> LlamaConfig:
    """tiny-llava's language model with a layer less: the Q-Former reads beforehand."""
    return LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        pad_token_id=WORDS.index("<pad>"),
        bos_token_id=WORDS.index("<s>"),
        eos_token_id=WORDS.index("</s>"),
        tie_word_embeddings=False,
    )


def fresh(clip: CLIPVisionModel) -> InstructBlipForConditionalGeneration:
    """A model that sees as a CLIP tower does and knows nothing else.

    The rest is random, by torch's global generator; attention begins mimetic.
    """
    model = InstructBlipForConditionalGeneration(config())
    see_as_clip(model.vision_model, clip)
    nn.init.normal_(model.query_tokens, std=0.3)
    for layer in model.qformer.encoder.layer:
        for block in (layer.attention, layer.crossattention):
            one = block.attention
            mimic(one.query, one.key, one.value, block.output.dense, 0.5)
    for layer in model.language_model.model.layers:
        one = layer.self_attn
        mimic(one.q_proj, one.k_proj, one.v_proj, one.o_proj, 0.3)
    ends = model.language_model.generation_config
    model.generation_config.eos_token_id = ends.eos_token_id
    model.generation_config.bos_token_id = ends.bos_token_id
    model.generation_config.pad_token_id = ends.pad_token_id
    return model


@torch.no_grad()
def mimic(
    query: nn.Linear, key: nn.Linear, value: nn.Linear, output: nn.Linear, back: float
) -> None:
    """Start an attention mimetic: W_q = W_k, W_o ~ W_v transposed, orthogonal.

    Source: Trockman & Kolter (2023); what it does here: see ``language``.
    """
    width = query.weight.shape[0]
    match = nn.init.orthogonal_(torch.empty(width, width))
    move = nn.init.orthogonal_(torch.empty(width, width))
    query.weight.copy_(0.7 * match)
    key.weight.copy_(0.7 * match)
    value.weight.copy_(0.7 * move)
    output.weight.copy_(back * move.T)


@torch.no_grad()
def see_as_clip(tower: InstructBlipVisionModel, clip: CLIPVisionModel) -> None:
    """Give a tower a CLIP tower's weights and one layer more, in place.

    CLIP normalises its embeddings before the first layer, which this tower cannot. Its
    additional first layer does: its input is so faint (``FADED``) that what the layer
    adds, the normalised input, is all there is. Normalisation does not mind how faint.
    The last hidden state becomes CLIP's, layer-normalised.
    """
    seen, shown = tower.embeddings, clip.embeddings
    seen.patch_embedding.weight.copy_(FADED * shown.patch_embedding.weight)
    assert seen.patch_embedding.bias is not None
    seen.patch_embedding.bias.zero_()
    seen.class_embedding.copy_(FADED * shown.class_embedding.view(1, 1, -1))
    seen.position_embedding.copy_(FADED * shown.position_embedding.weight[None])
    first, *others = tower.encoder.layers
    _normalise(first, clip.pre_layrnorm)
    for layer, twin in zip(others, clip.encoder.layers, strict=True):
        _copy_layer(layer, twin)
    tower.post_layernorm.reset_parameters()


def _normalise(layer: Stock, norm: nn.LayerNorm) -> None:
    """Make a layer add the normalised input to its input, and nothing else."""
    layer.self_attn.projection.weight.zero_()
    layer.self_attn.projection.bias.zero_()
    layer.layer_norm2.load_state_dict(norm.state_dict())
    width = norm.weight.shape[0]
    one = torch.eye(width)
    for parameter in layer.mlp.parameters():
        parameter.zero_()
    # gelu(x) - gelu(-x) = x
    layer.mlp.fc1.weight[: 2 * width] = torch.cat([one, -one])
    layer.mlp.fc2.weight[:, : 2 * width] = torch.cat([one, -one], 1)


def _copy_layer(layer: Stock, twin: Stock) -> None:
    """A CLIP layer's weights; query, key and value are one matrix here."""
    parts = [twin.self_attn.q_proj, twin.self_attn.k_proj, twin.self_attn.v_proj]
    layer.self_attn.qkv.weight.copy_(torch.cat([part.weight for part in parts]))
    layer.self_attn.qkv.bias.copy_(torch.cat([part.bias for part in parts]))
    pairs = (
        (layer.self_attn.projection, twin.self_attn.out_proj),
        (layer.layer_norm1, twin.layer_norm1),
        (layer.layer_norm2, twin.layer_norm2),
        (layer.mlp.fc1, twin.mlp.fc1),
        (layer.mlp.fc2, twin.mlp.fc2),
    )
    for one, other in pairs:
        one.load_state_dict(other.state_dict())
