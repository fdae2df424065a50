"""The paper's claims: what each says there, and how it is read off here.

Statements are in our words; numbers in ``paper`` and ``theirs`` are the paper's. What
is measured of toy models speaks of tiny models on drawn scenes.

Which reading is a claim's primary one, and why, is decided here, of what the paper
says and before anything is measured.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from analysis import crops, paper
from analysis.claims import readings
from analysis.claims.readings import (
    EMBEDDED,
    GPU,
    SIZES,
    Answers,
    Reading,
    Rule,
    above,
    below,
    no_loss,
    same,
)
from analysis.paper import BOTH, TABLE_1, TABLE_2, TABLE_3, TABLE_6, TABLE_7
from vicrop.methods import HIGH, PAPER

LOSS = 2.0
"""Points: a smaller loss counts as none. The paper's largest is below 0.25."""
EQUAL = 5.0
"""Points within which accuracies count as the same; the paper's largest is near 1."""
DOUBLE = same(1, "from half to double")
"""When two attention ratios, in doublings (of base 2), count as equally strong."""
MOST = 50.0
"""Percent: more is most of them."""


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    Attributes:
        key: C1, C2, …
        statement: what it says, in our words.
        paper: where it stands there, and the paper's own numbers for it.
        page: of this book that measures it, and the figure or part on it.
        readings: what is measured of it; for each model at most one primary reading.
        cannot: why nothing can be judged of toy models; empty if something can.
        cannot_gpu: the same of models that need a GPU.
        true: why no record could speak for or against it; empty if one could.
        core: what a reader who decides needs it for; empty if that can be done without.
        theirs: the paper's numbers of the primary reading, in its unit, by what of.
    """

    key: str
    statement: str
    paper: str
    page: str
    readings: tuple[Reading, ...] = ()
    cannot: str = ""
    cannot_gpu: str = ""
    true: str = ""
    core: str = ""
    theirs: Mapping[str, float] = field(default_factory=dict)

    @property
    def number(self) -> str:
        """The paper's own, short."""
        said = self.paper.partition(": ")[2]
        return f"{paper.listed(self.theirs)} points" if self.theirs else said

    def of(self, model: str) -> list[Reading]:
        """Its readings that are of a model."""
        return [one for one in self.readings if one.concerns(model)]


# What is measured on: drawn scenes of toy models, the paper's data sets of real ones.

DETAILS = {EMBEDDED: "plates", GPU: "textvqa"}
"""Of a claim about details in general."""
ENDS = ("small", "large")
INSTRUCTBLIP = {EMBEDDED: "tiny-instructblip", GPU: "instructblip-vicuna-7b"}


def details(
    size: str, *methods: str, groups: Sequence[str] = ("small",)
) -> tuple[Answers, ...]:
    """Answers about details, a method and group of objects' size each."""
    where = DETAILS[size]
    return tuple(Answers(where, m, group=g) for m in methods for g in groups)


def large_pictures(size: str, *methods: str) -> tuple[Answers, ...]:
    """Answers about large pictures, a method each: ours, or V*."""
    dataset, group = ("plates-hd", "small") if size == EMBEDDED else ("vstar", "")
    return tuple(Answers(dataset, name, group=group) for name in methods)


def tiled(dataset: str) -> tuple[str, ...]:
    """The paper's three methods, with tiles where a data set is of large pictures."""
    end = HIGH if dataset in ("vstar", "plates-hd") else ""
    return tuple(f"{method}{end}" for method in PAPER)


def methods_on(*datasets: str) -> list[Answers]:
    """Answers of the paper's three methods on data sets of the paper."""
    return [Answers(name, method) for name in datasets for method in tiled(name)]


# Readings, where a claim has many.


def zoom() -> Iterator[Reading]:
    """Ever closer views, question unchanged (C1)."""
    ends = "the paper's figure goes from the whole image to a close view"
    steps = {"closest view over the whole image": (4, 0, ends)}
    steps |= {f"view {n} over view {n - 1}": (n, n - 1, "") for n in range(1, 5)}
    for said, (one, other, why) in steps.items():
        measure = readings.named(f"step {one}", f"step {other}")
        name = f"probability of the right answer, {said}"
        yield Reading(name, ("zoom",), measure, why=why)


LOOKERS = {"last token": "map's layer", "the question's words": "words"}
"""Who looks at an object, and the probe that is of it."""

SQUARES = {
    "human-crop-tight": "the paper's: the smallest square around the object",
    "human-crop": "at least as wide as the model's input",
}
"""Crops around an object, and how large they are."""


def human(size: str, crop: str) -> Iterator[Reading]:
    """A crop around the object (C4): gains by size of object, and how they differ."""
    said = f"gain of {crop} ({SQUARES[crop]})"
    own = "the paper's own crop, where size is what is wrong: on small objects"
    for group in TABLE_1.columns:
        name, needs = f"{said}, {group} objects", details(size, crop, groups=[group])
        why = own if (crop, group) == ("human-crop-tight", "small") else ""
        yield Reading(name, needs, readings.gain, size, why=why)
    name, needs = f"{said}, small minus large objects", details(size, crop, groups=ENDS)
    yield Reading(name, needs, readings.gains_apart, size)


def ratio(objects: str, end: str, why: str = "") -> Iterator[Reading]:
    """Attention ratios above 1 (C5), in all layers and at the map's layer."""
    yield Reading(
        f"last token: layers at which an object's ratio is above 1, {objects}",
        (f"layers{end}",),
        readings.layers_above,
        rule=above(MOST),
        unit="%",
        why=why,
    )
    yield Reading(
        f"last token: mean attention ratio at the map's layer, {objects}",
        (f"map's layer{end}",),
        readings.mean_ratio,
        rule=above(1),
        unit="×",
    )


def perception(size: str) -> Iterator[Reading]:
    """Wrong answers where the map is right (C7)."""
    yield Reading(
        "of small objects answered wrongly from the image alone, the share that "
        "rel-att's crop holds",
        details(size, "rel-att"),
        readings.found_share,
        size,
        above(MOST),
        unit="%",
        why="if seeing is what limits, most of what is misread was found, before any "
        "crop is shown",
    )
    yield Reading(
        "finding: small objects answered wrongly from the image alone, in rel-att's "
        "crop minus in a random one",
        details(size, "rel-att", "random-crop"),
        readings.found_when_wrong,
        size,
    )
    yield Reading(
        "finding: of small objects still answered wrongly with rel-att's crop, the "
        "share that the crop missed",
        details(size, "rel-att"),
        readings.missed_when_left,
        size,
        below(MOST),
        unit="%",
    )
    yield Reading(
        "seeing: answered wrongly though in rel-att's crop, human crop over the image "
        "given twice",
        details(size, "rel-att", "human-crop", "full-twice"),
        readings.read_when_found,
        size,
    )


def gains(
    size: str, needs: Sequence[Answers], rule: Rule, count: int = 0
) -> Iterator[Reading]:
    """Gains over the image alone (C8, C9), after the least of the first ``count``."""
    if first := tuple(needs[:count]):
        where = dict.fromkeys(f"{one.dataset} {one.group}".strip() for one in first)
        name = f"least gain of the three methods, {', '.join(where)}"
        why = "it is said of each of the three, and the least gain speaks for all"
        yield Reading(name, first, readings.least_gain, size, rule, why=why)
    for one in needs:
        parts = [f"gain of {one.method}", one.group and f"{one.group} objects"]
        name = ", ".join(filter(None, [*parts, one.dataset]))
        yield Reading(name, (one,), readings.gain, size, rule)


def more_than_instructblip() -> Iterator[Reading]:
    """LLaVA's gains beside InstructBLIP's (C10)."""
    asked = [(EMBEDDED, one) for one in details(EMBEDDED, *PAPER)]
    asked += [(GPU, one) for one in methods_on("textvqa", "docvqa", "vstar")]
    for size, one in asked:
        needs = (one, replace(one, model=INSTRUCTBLIP[size]))
        said = f"gain of {one.method} less InstructBLIP's, {one.dataset} {one.group}"
        first = one.method == PAPER[0] and one.dataset == DETAILS[size]
        why = "the paper's first method, where details matter" * first
        measure, name = readings.gains_over, said.strip()
        yield Reading(name, needs, measure, size, families=("llava",), why=why)


def tiles(size: str) -> Iterator[Reading]:
    """Large pictures, with tiles and without (C12)."""
    new = "tiles are what is new in it, and the first method that it names here"
    said = [
        ("rel-att", "llava", above(), new),
        ("grad-att", "llava", above(), ""),
        ("grad-att", "instructblip", below(), new),
        ("pure-grad", "instructblip", below(), ""),
    ]
    for method, family, rule, why in said:
        needs = large_pictures(size, method + HIGH, method)
        name = f"{method}{HIGH} over {method}"
        yield Reading(name, needs, readings.over, size, rule, (family,), why=why)
    for method in (f"{name}{end}" for name in PAPER for end in ("", HIGH)):
        needs = large_pictures(size, method)
        name = f"gain of {method}, large pictures"
        yield Reading(name, needs, readings.gain, size, families=BOTH)


def relations() -> Iterator[Reading]:
    """Questions about one object against questions about two (C21)."""
    kinds = ("direct_attributes", "relative_position")
    for method in tiled("vstar"):
        needs = tuple(Answers("vstar", method, kind=kind) for kind in kinds)
        name = f"gain of {method}, attributes minus positions, vstar"
        why = "the paper's first method" * method.startswith(PAPER[0])
        yield Reading(name, needs, readings.gains_apart, GPU, why=why)


NO_LOSS = no_loss(LOSS)
MEAN, SELECTED = "mean of all layers", "selected layer"
ONLY = "the only reading: it is what the claim says"
NO_TOOLS = "SAM, YOLO and CLIP are not part of this package"
NO_COMMAND = "no command: "


CLAIMS = (
    Claim(
        "C1",
        "Zooming in on the object makes the right answer likelier, view by view, with "
        "the question unchanged.",
        "Figure 1, section 1: curves of three images; no values printed",
        "small_details#fig-zoom",
        tuple(zoom()),
    ),
    Claim(
        "C2",
        "The smaller the object that is asked about, the fewer answers are right, in "
        "every model.",
        "Table 1, section 3: "
        + paper.fall(("blip-2", "instructblip", "llava", "qwen-vl")),
        "small_details#fig-size",
        tuple(
            Reading(
                "large minus small objects, image alone",
                details(size, "no-crop", groups=ENDS),
                readings.fall,
                size,
                why=ONLY,
            )
            for size in SIZES
        ),
        core="the trouble: small things are misread",
        theirs={m: TABLE_1.apart(m, "no-crop", "large", "small") for m in BOTH},
    ),
    Claim(
        "C3",
        "Even GPT-4o is affected.",
        "Table 1, section 3: small / medium / large: "
        + " / ".join(f"{v:.2f}" for v in TABLE_1.rows["gpt-4o", "no-crop"] if v),
        "small_details#fig-size",
        cannot="a closed model behind a service, at a date not given",
        cannot_gpu=f"{NO_COMMAND}its weights are not public",
    ),
    Claim(
        "C4",
        "Size is the cause: a crop around the object, beside the image, repairs it.",
        "Table 1, section 3: gain, small / medium / large: "
        + "; ".join(map(paper.human, BOTH)),
        "small_details#fig-size",
        (
            *human(EMBEDDED, "human-crop-tight"),
            *human(EMBEDDED, "human-crop"),
            *human(GPU, "human-crop-tight"),
        ),
        core="the cause: it is their size, so that a crop can repair it",
        theirs={m: TABLE_1.change(m, "human-crop", "small") for m in BOTH},
    ),
    Claim(
        "C5",
        "In most layers the object gets clearly more attention than boxes of its size "
        "do on average.",
        "Figure 3, section 4: curves of four models, above 1 in most layers; no values "
        "printed",
        "where_they_look#fig-ratio",
        (
            *ratio(
                "all sizes",
                ", all sizes",
                "as the paper's figure: the last token, boxes of all sizes, by layer",
            ),
            *ratio("small objects", ""),
            Reading(
                "the question's words: mean attention ratio of word-att, small objects",
                ("words",),
                readings.mean_ratio,
                rule=above(1),
                unit="×",
            ),
        ),
        core="it looks: without that no map can say where to crop",
    ),
    Claim(
        "C6",
        "It gets it as strongly when the answer is wrong.",
        "Figures 2 and 3, section 4: in words, from two curves; no values, no test",
        "where_they_look#fig-ratio",
        tuple(
            Reading(
                f"{who}: mean log₂ of the ratio, wrong minus right, small objects",
                (probe,),
                readings.wrong_over_right,
                rule=DOUBLE,
                unit="log₂",
                why="the paper reads the last token" * who.startswith("last"),
            )
            for who, probe in LOOKERS.items()
        ),
        core="it looks there when it answers wrongly too: only then is there a gain",
    ),
    Claim(
        "C7",
        "So what limits the models is seeing small things, not finding them.",
        "section 4: a conclusion from C4, C5 and C6; no number of its own",
        "why_it_fails",
        (*perception(EMBEDDED), *perception(GPU)),
        core="the conclusion: seeing is what is to be helped",
    ),
    Claim(
        "C8",
        "Each of the three methods raises accuracy where details matter, without "
        "training.",
        f"Table 2, section 6: {paper.gains_and_losses('llava', paper.DETAILED)}",
        "does_cropping_help#fig-gain",
        (
            *gains(EMBEDDED, details(EMBEDDED, *PAPER), above(), 3),
            *gains(EMBEDDED, large_pictures(EMBEDDED, *tiled("plates-hd")), above()),
            *gains(GPU, methods_on(*paper.DETAILED), above(), 3),
        ),
        core="the use: it helps where details matter",
        theirs={m: min(TABLE_2.change(m, o, "textvqa") for o in PAPER) for m in BOTH},
    ),
    Claim(
        "C9",
        "None of them costs accuracy where most objects are large.",
        f"Table 2, section 6: {paper.gains_and_losses('llava', paper.GENERAL)}",
        "does_cropping_help",
        (
            *gains(EMBEDDED, details(EMBEDDED, *PAPER, groups=["large"]), NO_LOSS, 3),
            *gains(GPU, methods_on(*paper.GENERAL), NO_LOSS, 9),
        ),
        core="the price: it does no harm elsewhere",
        theirs={
            m: min(TABLE_2.change(m, o, d) for o in PAPER for d in paper.GENERAL)
            for m in BOTH
        },
    ),
    Claim(
        "C10",
        "LLaVA-1.5 gains more than InstructBLIP.",
        "Table 2, section 6: gain of llava minus instructblip's: "
        + paper.gains_apart("textvqa", "vstar", "docvqa"),
        "does_cropping_help#fig-gain",
        tuple(more_than_instructblip()),
        theirs={
            name: TABLE_2.change("llava", "rel-att", name)
            - TABLE_2.change("instructblip", "rel-att", name)
            for name in ("textvqa", "vstar", "docvqa")
        },
    ),
    Claim(
        "C11",
        "Which layer is read matters little: the mean over all layers does too.",
        "Table 3, section 6: mean of all layers minus the selected layer: "
        + paper.averaged(),
        "each_part#fig-layers",
        (
            Reading(
                "accuracy, crop of the mean of all layers minus the map's layer",
                ("chosen layer",),
                readings.named(crops.ALL, crops.ONE),
                rule=same(EQUAL),
                why=ONLY,
            ),
        ),
        theirs={m: TABLE_3.apart(m, "rel-att", MEAN, SELECTED) for m in BOTH},
    ),
    Claim(
        "C12",
        "On large pictures, tiles help LLaVA-1.5 and hurt InstructBLIP's grad-att and "
        "pure-grad; with tiles or without, each method beats no cropping.",
        "Table 3, section 6: with tiles minus without, llava: "
        f"{paper.tiles('llava')}; instructblip: {paper.tiles('instructblip')}",
        "each_part#fig-high-res",
        (*tiles(EMBEDDED), *tiles(GPU)),
        theirs={
            f"{m} {method}": TABLE_3.apart(m, method, "with tiles", "without tiles")
            for m, method in {"llava": "rel-att", "instructblip": "grad-att"}.items()
        },
    ),
    Claim(
        "C13",
        "Cropping by the model's own signals beats external tools, which help too.",
        f"Table 4, appendix F: {paper.tools()}",
        "the_paper",
        cannot=f"{NO_TOOLS}, and were not trained on drawn scenes",
        cannot_gpu=f"{NO_COMMAND}{NO_TOOLS}",
    ),
    Claim(
        "C14",
        "Looking adds little time, whatever the answer's length; rel-att about five "
        "answer tokens.",
        "Table 4, section 6: rel-att, in answer tokens on a GPU: "
        + ", ".join(f"{m} {paper.answer_tokens(m, 'rel-att'):.1f}" for m in BOTH),
        "cost",
        (
            Reading(
                "time that rel-att and its second answer add, in answer tokens",
                ("cost",),
                readings.answer_tokens,
                EMBEDDED,
                None,
                unit="tokens",
                why=ONLY,
            ),
        ),
        cannot="a CPU's answer token is not a GPU's, nor a small model's a 7B one's",
        cannot_gpu="`make bench` on a machine with a GPU",
    ),
    Claim(
        "C15",
        "It still helps when the prompt lists the text that OCR found.",
        "appendix A: rel-att: "
        + paper.points(paper.OCR.change("llava", "rel-att", "textvqa")),
        "the_paper",
        cannot="drawn scenes have no OCR tokens",
        cannot_gpu=f"{NO_COMMAND}prompts with OCR tokens are not made here",
    ),
    Claim(
        "C16",
        "It adds to what training at higher resolution gives.",
        "Table 6, appendix D: llava-next, rel-att: "
        + paper.listed(
            {c: TABLE_6.change("llava-next", "rel-att", c) for c in TABLE_6.columns}
        ),
        "the_paper",
        cannot="no toy model was trained at two resolutions",
        cannot_gpu=f"{NO_COMMAND}LLaVA-NeXT has no adapter here",
    ),
    Claim(
        "C17",
        "Untrained, it beats SEAL, which is trained for this, save on V*; and it is "
        "faster.",
        "Table 7, appendix E: V*: SEAL {:.2f}, rel-att {:.2f}; seconds {:.2f} and "
        "{:.2f}".format(
            *(
                TABLE_7.value(*row, column)
                for column in ("vstar", "seconds")
                for row in TABLE_7.rows
            )
        ),
        "the_paper",
        cannot="SEAL is not part of this package",
        cannot_gpu=f"{NO_COMMAND}SEAL is not part of this package",
    ),
    Claim(
        "C18",
        "Nothing is trained, and pure-grad needs no Transformer.",
        "section 5: none: a property of the design",
        "method",
        true="weights are frozen, and no number could differ",
    ),
    Claim(
        "C19",
        "The crop beside the image, not instead of it, keeps the whole in view.",
        "section 5, Figure 4: argued; no ablation found",
        "does_cropping_help",
        (
            Reading(
                "accuracy, image and crop minus crop alone, rel-att",
                ("crop alone",),
                readings.named("image and crop", "crop alone"),
                why=ONLY,
            ),
        ),
    ),
    Claim(
        "C20",
        "α times the resolution costs α² times the tokens and α⁴ times the attention.",
        "section 5: arithmetic",
        "cost",
        true="arithmetic of a square picture, which no record could contradict",
    ),
    Claim(
        "C21",
        "Questions about relations and counts gain least, since there is one crop.",
        "section 7: stated without numbers",
        "the_paper",
        tuple(relations()),
        cannot="every drawn question is about one plate",
    ),
    Claim(
        "C22",
        "The three methods are strong on different questions.",
        "section 7: stated without numbers",
        "each_part",
        tuple(
            Reading(
                "best answer of the three methods minus the best method's",
                details(size, *PAPER),
                readings.oracle,
                size,
                above(LOSS),
                why=ONLY,
            )
            for size in SIZES
        ),
    ),
)
"""All of them, in the order of our list."""
