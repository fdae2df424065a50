"""What people bring, as hypothesis draws it: pictures, data, questions, names, options.

Valid things first, then one thing done to them that happens to files and words.
"""

import io
import json
import struct
from pathlib import Path

from hypothesis import strategies as st
from PIL import Image

MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("L", "P"),
    "BMP": ("1", "L", "P", "RGB"),
    "TIFF": ("1", "L", "P", "RGB", "RGBA", "CMYK", "LAB", "I;16", "I", "F"),
}
"""What the six formats can be saved in."""

SIDES = st.sampled_from((1, 2, 13, 14, 27, 28, 29, 64, 300))
ORIENTATION = 0x0112

SPECIAL = (
    *("</s>", "<s>", "<image>", "<|im_end|>", "<|image_pad|>", "<unk>", "[CLS]"),
    *("USER:", "ASSISTANT:", "$5 is 10% of $50", "{}", "{0}", "%s", "\\n", "\\frac{"),
    *("<b>&amp;", "|", "**", "`", "[red]", "[/]", "\x00", "\x1b[31m", "\r\n", "\t"),
    *("\u202e", "\u200f", "\ufeff", "\ufffd", "e\u0301", "５．５", "👩\u200d🚀", "אב"),
    *("\u2028", "\x85", "\x7f", "\U0010ffff", "ﷺ", "İ", "ß"),
)
"""Words that mean something to a tokenizer, a shell, a markup or a terminal."""


def _exif(orientation: int | str, kind: int = 3) -> bytes:
    """An EXIF block that says one thing, in the type of that number."""
    value = struct.pack("<HH", int(orientation), 0)
    entry = struct.pack("<HHI", ORIENTATION, kind, 1) + value
    return b"Exif\0\0II*\0\x08\0\0\0" + b"\x01\0" + entry + bytes(4)


EXIF = st.one_of(
    st.none(),
    st.builds(_exif, st.integers(0, 9)),
    st.builds(_exif, st.integers(0, 9), st.integers(0, 14)),
    st.builds(lambda whole, cut: whole[:cut], st.just(_exif(6)), st.integers(0, 30)),
    st.binary(max_size=20).map(lambda rest: b"Exif\0\0" + rest),
)


@st.composite
def whole_pictures(draw: st.DrawFn) -> bytes:
    """The bytes of a picture as its program left them."""
    kind = draw(st.sampled_from(tuple(MODES)))
    mode = draw(st.sampled_from(MODES[kind]))
    size = draw(SIDES), draw(SIDES)
    step = draw(st.integers(1, 251))
    grey = Image.frombytes(
        "L", size, bytes(n * step % 251 for n in range(size[0])) * size[1]
    )
    picture = (
        grey.convert("RGB").convert("LAB") if mode == "LAB" else grey.convert(mode)
    )
    said = (
        {} if (exif := draw(EXIF)) is None or kind in ("GIF", "BMP") else {"exif": exif}
    )
    said |= (
        {"save_all": True, "append_images": [picture]} if draw(st.booleans()) else {}
    )
    out = io.BytesIO()
    try:
        picture.save(out, kind, **said)
    except (OSError, ValueError, SyntaxError, TypeError, KeyError, struct.error):
        out = io.BytesIO()  # Pillow does not write everything that it reads
        picture.save(out, kind)
    return out.getvalue()


@st.composite
def spoilt(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """What becomes of bytes on their way: flipped, cut, doubled, joined with others."""
    text = bytearray(draw(whole))
    how = draw(
        st.sampled_from(("not", "flipped", "cut", "doubled", "joined", "zeroed"))
    )
    at = draw(st.integers(0, max(len(text) - 1, 0)))
    if how == "flipped":
        for place in draw(st.lists(st.integers(0, max(len(text) - 1, 0)), max_size=4)):
            text[place : place + 1] = bytes([draw(st.integers(0, 255))])
    elif how == "cut":
        del text[at:]
    elif how == "doubled":
        text = text + text
    elif how == "joined":
        text = text[:at] + draw(whole)[at:]
    elif how == "zeroed":
        text[at:] = bytes(len(text) - at)
    return bytes(text)


OTHERS = st.sampled_from(
    (
        b"",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        b"<!DOCTYPE html><title>404</title>",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        b"PK\x03\x04\x14\0",
        b"\x1f\x8b\x08\0",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"P5 3 3 255\n123456789",
        b"P5 99999 99999 255\n",
        b"#define a_width 8\n#define a_height 1\nstatic char a_bits[] = {0x00};\n",
    )
)
"""What lies where a picture should: pointers, error pages, documents, archives."""

PICTURES = st.one_of(whole_pictures(), spoilt(whole_pictures()), OTHERS)

QUESTIONS = st.one_of(
    st.lists(
        st.one_of(st.sampled_from(SPECIAL), st.text(max_size=8), st.just("plate ")),
        max_size=6,
    ).map("".join),
    st.builds(
        lambda word, times: word * times, st.sampled_from(SPECIAL), st.integers(1, 400)
    ),
)
"""Any text, and the words that are more than text to somebody."""

ANYTHING = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from((10**400, -1, 2**63, 0.5, 1e308, -0.0, "", " ", "0", "NaN")),
        QUESTIONS,
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=3), inner, max_size=2),
    ),
    max_leaves=4,
)
"""Any value of JSON."""

FIELDS = {
    "id": st.one_of(st.text(max_size=300), st.sampled_from(SPECIAL)),
    "question": QUESTIONS,
    "labels": st.lists(QUESTIONS, max_size=3),
    "image_path": st.sampled_from(
        ("0.png", "./0.png", "a/../0.png", "/0.png", "0.png/", "", ".", "\x00", "é.png")
    ),
    "short_question": QUESTIONS,
    "boxes": st.lists(
        st.lists(
            st.sampled_from((-1, 0, 0.25, 0.5, 1, 30, 64, 64.4, 999, 1e9)),
            min_size=3,
            max_size=5,
        ),
        max_size=2,
    ),
    "options": st.lists(QUESTIONS, max_size=3),
    "meta": st.dictionaries(st.text(max_size=5), ANYTHING, max_size=2),
}
"""Of a row, with values of their own type; what else they may be is ``ANYTHING``."""


def row(number: int) -> dict:
    """A row of a data set in which all is well."""
    return {
        "id": str(number),
        "question": "what digit is on the red plate?",
        "labels": ["4"],
        "image_path": f"{number}.png",
    }


@st.composite
def rows(draw: st.DrawFn) -> list:
    """Rows of a ``data.json``, of which one has a field changed, dropped or added."""
    made = [row(0), row(1)]
    name = draw(st.sampled_from((*FIELDS, "extra")))
    how = draw(st.sampled_from(("own", "any", "dropped", "doubled row")))
    if how == "own" and name in FIELDS:
        made[1][name] = draw(FIELDS[name])
    elif how == "dropped":
        made[1].pop(name, None)
    elif how == "doubled row":
        made.append(made[1])
    else:
        made[1][name] = draw(ANYTHING)
    return made


SAVED = {
    "plain": lambda text: text.encode(),
    "BOM": lambda text: text.encode("utf-8-sig"),
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16-LE": lambda text: text.encode("utf-16-le"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "Latin-1": lambda text: text.encode("latin-1", "replace"),
    "cut": lambda text: text.encode()[:-20],
    "trailing comma": lambda text: text[:-1].encode() + b",]",
    "lines": lambda text: "\n".join(map(json.dumps, json.loads(text))).encode(),
    "in an object": lambda text: f'{{"data": {text}}}'.encode(),
    "twice": lambda text: (text + text).encode(),
    "nothing": lambda text: b"",
    "null": lambda text: b"null",
    "empty list": lambda text: b"[]",
    "deep": lambda text: b"[" * 100_000,
    "NUL": lambda text: text.encode() + bytes(100),
    "lone surrogate": lambda text: text.replace("red", "\\ud800").encode(),
    "NaN": lambda text: text.replace(
        '"labels"', '"meta": {"a": NaN}, "labels"'
    ).encode(),
}
"""How programs save a file."""


@st.composite
def data_files(draw: st.DrawFn) -> bytes:
    """The bytes of a ``data.json``."""
    if draw(st.booleans()):
        text = json.dumps(draw(rows()), ensure_ascii=draw(st.booleans()), indent=1)
        return text.encode("utf-8", "surrogatepass")
    how = draw(st.sampled_from(tuple(SAVED)))
    return SAVED[how](json.dumps([row(0), row(1)], indent=1))


WORDS = st.one_of(
    st.text(st.characters(blacklist_characters="\0"), max_size=12),
    st.sampled_from([word for word in SPECIAL if "\0" not in word]),
    st.sampled_from(
        (
            "",
            " ",
            ".",
            "..",
            "/",
            "~",
            "-",
            "--",
            "a/b",
            "a" * 300,
            "nan",
            "inf",
            "\udcff",
        )
    ),
)
"""What a shell can hand over: no NUL, but bytes that are no UTF-8."""

NUMBERS = st.one_of(
    st.integers(-3, 9),
    st.sampled_from(
        (2**31, 2**63, 2**64, -(2**63), 10**30, 10**5000, "1e3", "0x10", "١", "²")
    ),
    st.floats(),
    WORDS,
).map(
    lambda value: (
        str(value) if not isinstance(value, int) or abs(value) < 10**40 else "9" * 5000
    )
)


def _of(*keys: str) -> st.SearchStrategy[str]:
    return st.one_of(st.sampled_from(keys), WORDS)


OPTIONS = {
    "--model": _of("tiny-llava", "llava", "tiny-llava/", "no/such", "./data"),
    "--family": _of("llava", "qwen2_5_vl"),
    "--method": _of(
        "rel-att", "rel_att", "no-crop", "human-crop", "pure-grad-high", "floor-att"
    ),
    "--dataset": _of("data", "data/", "./data", "data/images", "plates", "textvqa"),
    "--dtype": _of("float32", "bfloat16", "float16", "float64", "int8"),
    "--device": _of("cpu", "cuda", "cuda:99", "meta", "cpu:1", "mps", "xla"),
    "--fit": _of("squash", "pad", "native", "centre-crop"),
    "--geometry": _of("exact", "upstream"),
    "--option": _of(
        "max_pixels=100", "a=1", "layer=1", "device=1", "self=1", "max_pixels=²"
    ),
    "--boxes-from": _of("data", "records", "results/runs"),
    "--crop-policy": _of("single", "funnel", "top-k", "swapped", "same-tokens"),
    "--gate": _of("data", "records", "results/runs"),
    "--gate-feature": _of("margin", "map-spread"),
    "--batch-size": _of("auto", "2", "1", "0", "3.0", "9" * 5000),
    "--save-maps": st.none(),
    "--retry-failed": st.none(),
} | dict.fromkeys(
    (
        *("--limit", "--seed", "--layer", "--max-new-tokens", "--shard", "--shards"),
        *("--sample-timeout", "--crops", "--gate-alpha"),
    ),
    NUMBERS,
)
"""Of ``vicrop run``; a flag's is None."""


@st.composite
def options(draw: st.DrawFn) -> list[str]:
    """A few options as a shell hands them over."""
    names = draw(st.lists(st.sampled_from(tuple(OPTIONS)), min_size=1, max_size=3))
    drawn = [(name, draw(OPTIONS[name])) for name in names]
    return [name if value is None else f"{name}={value}" for name, value in drawn]


NAMES = st.one_of(
    st.text(
        st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)),
        min_size=1,
        max_size=60,
    ),
    st.sampled_from(
        (
            "a b",
            "ünï",
            "-x",
            "--seed",
            "a" * 200,
            "é" * 120,
            "[red]",
            "$HOME",
            "a__b",
            "con",
            "'",
            '"',
            "\n",
            "plates",
            "tiny-llava",
        )
    ),
).filter(lambda name: name not in (".", "..") and len(name.encode()) < 256)
"""What a folder can be called."""


@st.composite
def json_changes(draw: st.DrawFn, text: bytes) -> bytes:
    """A JSON file in which one value, however deep, is dropped or is another."""
    made = inner = json.loads(text)
    while True:
        keys = sorted(inner) if isinstance(inner, dict) else range(len(inner))
        key = draw(st.sampled_from(list(keys)))
        deeper = isinstance(inner[key], (dict, list)) and len(inner[key])
        if not deeper or draw(st.booleans()):
            break
        inner = inner[key]
    if draw(st.booleans()):
        del inner[key]
    else:
        # None that is large, or a small patch: all the memory would be taken.
        inner[key] = draw(st.sampled_from((None, -1, 0, 0.5, 77, "", "x", [], {}, [2])))
    return json.dumps(made).encode()


@st.composite
def spoilt_files(draw: st.DrawFn, folder: Path, among: str = "*") -> tuple[str, bytes]:
    """A file of a folder, by its path in it, and what stands there instead."""
    files = sorted(file for file in folder.rglob(among) if file.is_file())
    file = draw(st.sampled_from(files))
    text, name = file.read_bytes(), str(file.relative_to(folder))
    if file.suffix == ".json" and text.count(b"\n{") == 0 and draw(st.booleans()):
        return name, draw(json_changes(text))
    other = st.one_of(spoilt(st.just(text)), OTHERS)
    # What still is JSON may say 1e9 pixels, and all the machine's memory is taken.
    return name, draw(other.filter(lambda made: made == text or not _is_json(made)))


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
