"""What all embedded models share: the picture's size, words, tokenizers of words."""

from collections.abc import Iterable, Sequence

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

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


def tokenizer(core: Tokenizer, **tokens) -> PreTrainedTokenizerFast:
    """As ``transformers`` has them, padded on the left."""
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        unk_token="<unk>",
        padding_side="left",
        **tokens,
    )


def spaced(words: Sequence[str], pattern: str, **tokens) -> PreTrainedTokenizerFast:
    """Words by ``pattern``, space between them dropped, behind a ``<s>``."""
    core = word_level(words)
    split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.WhitespaceSplit()]
    )
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", words.index("<s>"))]
    )
    return tokenizer(core, bos_token="<s>", eos_token="</s>", **tokens)


def lined(words: Sequence[str], **tokens) -> PreTrainedTokenizerFast:
    """Words and signs; a line's end is one too, other space between them is dropped."""
    core = word_level(words)
    split = pre_tokenizers.Split(Regex(r"\n|\w+|[^\w\s]"), behavior="isolated")
    space = pre_tokenizers.Split(Regex(r"[^\S\n]+"), behavior="removed")
    core.pre_tokenizer = pre_tokenizers.Sequence([split, space])
    return tokenizer(core, **tokens)


def numbers(some: Iterable[str], words: Sequence[str]) -> list[int]:
    """Of some of a vocabulary's words."""
    return [words.index(word) for word in some]
