"""The embedded models' configurations, words and processors, all of stock classes."""

from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.clip import CLIPImageProcessorPil

from embedded.scenes import COLORS, DIGITS, LETTERS, TEXTURES

IMAGE_PX, PATCH_PX = 96, 8
GRID = IMAGE_PX // PATCH_PX

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")
SENTENCE_WORDS = (
    "USER: ASSISTANT: Answer the question using a single word or phrase . ? ,"
    " Write general description of image what which digit letter color is on plate"
    " does show with there in yes no wall"
).split()
WORDS = (*SPECIAL, *SENTENCE_WORDS, *TEXTURES, *COLORS, *DIGITS, *LETTERS)


def word_level(words: Sequence[str]) -> Tokenizer:
    """A tokenizer's core that knows whole words; others are ``<unk>``."""
    table = {word: number for number, word in enumerate(words)}
    core = Tokenizer(models.WordLevel(table, unk_token="<unk>"))
    # Questions may start with a capital; letters on plates keep theirs.
    lower = ("What", "Which", "Is", "Does")
    core.normalizer = normalizers.Sequence(
        [normalizers.Replace(Regex(rf"\b{w}\b"), w.lower()) for w in lower]
    )
    return core


def spaced(words: Sequence[str], pattern: str) -> Tokenizer:
    """Words by ``pattern``, space between them dropped, behind a ``<s>``."""
    core = word_level(words)
    split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.WhitespaceSplit()]
    )
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", words.index("<s>"))]
    )
    return core


def lined(words: Sequence[str]) -> Tokenizer:
    """Words and signs; a line's end is one too, other space between them is dropped."""
    core = word_level(words)
    split = pre_tokenizers.Split(Regex(r"\n|\w+|[^\w\s]"), behavior="isolated")
    space = pre_tokenizers.Split(Regex(r"[^\S\n]+"), behavior="removed")
    core.pre_tokenizer = pre_tokenizers.Sequence([split, space])
    return core


def tokenizer() -> PreTrainedTokenizerFast:
    """tiny-llava's tokenizer, of ``WORDS``."""
    core = spaced(WORDS, r"USER:|ASSISTANT:|\w+|[^\w\s]")
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        padding_side="left",
        extra_special_tokens={"image_token": "<image>"},
    )


def llava_processor() -> LlavaProcessor:
    """LLaVA's own preprocessing (short side resized, centre cropped), at 96 px."""
    images = CLIPImageProcessorPil(
        size={"shortest_edge": IMAGE_PX},
        crop_size={"height": IMAGE_PX, "width": IMAGE_PX},
        image_mean=[0.5] * 3,
        image_std=[0.25] * 3,
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer(),
        patch_size=PATCH_PX,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,  # CLIP's class token, dropped by "default"
    )


def llava_config(width: int = 128, layers: int = 4) -> LlavaConfig:
    """A LLaVA-1.5 of the same parts as the 7B one, some 4,000 times smaller."""
    vision = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        image_size=IMAGE_PX,
        patch_size=PATCH_PX,
        projection_dim=width,
        hidden_act="gelu",  # quick_gelu, CLIP's own, is slower on CPU
    )
    text = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        pad_token_id=WORDS.index("<pad>"),
        bos_token_id=WORDS.index("<s>"),
        eos_token_id=WORDS.index("</s>"),
        tie_word_embeddings=False,
    )
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=WORDS.index("<image>"),
        image_seq_length=GRID**2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        projector_hidden_act="gelu",
    )


def llava() -> LlavaForConditionalGeneration:
    """A fresh tiny-llava with random weights (seeded by torch's global generator)."""
    return LlavaForConditionalGeneration(llava_config())
