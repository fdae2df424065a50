"""The paper's claims: what each says there, and how it is read off here.

Statements are in our words; numbers in ``paper`` fields are the paper's. What is
measured at the embedded size speaks of tiny models on drawn scenes.
"""

from dataclasses import dataclass

from analysis import paper, quoted
from analysis.claims import signs
from analysis.claims.readings import Reading
from analysis.paper import TABLE_1, TABLE_6, TABLE_7


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    Attributes:
        key: C1, C2, …
        statement: what it says, in our words.
        place: where, in the paper.
        paper: the paper's own numbers for it.
        page: of this book that measures it, and the figure or part on it.
        measures: what is measured of it.
        cannot: why nothing can be judged at the embedded size; empty if something can.
        cannot_gpu: the same of models that need a GPU.
        true: why no record could speak for or against it; empty if one could.
    """

    key: str
    statement: str
    place: str
    paper: str
    page: str
    measures: tuple[Reading, ...] = ()
    cannot: str = ""
    cannot_gpu: str = ""
    true: str = ""

    def of(self, model: str) -> list[Reading]:
        """Its readings that are of a model."""
        return [one for one in self.measures if one.concerns(model)]


BOTH = ("llava", "instructblip")
NO_TOOLS = "SAM, YOLO and CLIP are not part of this package"
NO_COMMAND = "no command: "


CLAIMS = (
    Claim(
        "C1",
        "Zooming in on the object makes the right answer likelier, view by view, with "
        "the question unchanged.",
        "Figure 1, section 1",
        "curves of three images; no values printed",
        "claims#fig-zoom",
        signs.zoom(),
    ),
    Claim(
        "C2",
        "The smaller the object that is asked about, the fewer answers are right, in "
        "every model.",
        "Table 1, section 3",
        quoted.fall(("blip-2", "instructblip", "llava", "qwen-vl")),
        "01_small_details#fig-size",
        signs.by_size(),
    ),
    Claim(
        "C3",
        "Even GPT-4o is affected.",
        "Table 1, section 3",
        "small / medium / large: "
        + " / ".join(f"{v:.2f}" for v in TABLE_1.rows["gpt-4o", "no-crop"] if v),
        "01_small_details#fig-size",
        cannot="a closed model behind a service, at a date not given",
        cannot_gpu=f"{NO_COMMAND}its weights are not public",
    ),
    Claim(
        "C4",
        "Size is the cause: a crop around the object, beside the image, repairs it.",
        "Table 1, section 3",
        "gain, small / medium / large: " + "; ".join(map(quoted.human, BOTH)),
        "01_small_details#fig-size",
        signs.human(),
    ),
    Claim(
        "C5",
        "In most layers the object gets clearly more attention than boxes of its size "
        "do on average.",
        "Figure 3, section 4",
        "curves of four models, above 1 in most layers; no values printed",
        "02_where_they_look#fig-ratio",
        signs.ratio(),
    ),
    Claim(
        "C6",
        "It gets it as strongly when the answer is wrong.",
        "Figures 2 and 3, section 4",
        "in words, from two curves; no values, no test",
        "02_where_they_look#fig-ratio",
        signs.ratio_when_wrong(),
    ),
    Claim(
        "C7",
        "So what limits the models is seeing small things, not finding them.",
        "section 4",
        "a conclusion from C4, C5 and C6; no number of its own",
        "07_failures",
        signs.perception(),
    ),
    Claim(
        "C8",
        "Each of the three methods raises accuracy where details matter, without "
        "training.",
        "Table 2, section 6",
        quoted.gains_and_losses("llava", paper.DETAILED),
        "04_main_table#fig-gain",
        signs.details(),
    ),
    Claim(
        "C9",
        "None of them costs accuracy where most objects are large.",
        "Table 2, section 6",
        quoted.gains_and_losses("llava", paper.GENERAL),
        "04_main_table",
        signs.no_loss(),
    ),
    Claim(
        "C10",
        "LLaVA-1.5 gains more than InstructBLIP.",
        "Table 2, section 6",
        "gain of llava minus instructblip's: "
        + quoted.apart("textvqa", "vstar", "docvqa"),
        "04_main_table#fig-gain",
        signs.more_than_instructblip(),
    ),
    Claim(
        "C11",
        "Which layer is read matters little: the mean over all layers does too.",
        "Table 3, section 6",
        "mean of all layers minus the selected layer: " + quoted.averaged(),
        "open_questions#fig-layers",
        signs.averaged(),
    ),
    Claim(
        "C12",
        "On large pictures, tiles help LLaVA-1.5 and hurt InstructBLIP's grad-att and "
        "pure-grad; with tiles or without, each method beats no cropping.",
        "Table 3, section 6",
        f"with tiles minus without, llava: {quoted.tiles('llava')}; instructblip: "
        + quoted.tiles("instructblip"),
        "05_ablations#fig-high-res",
        signs.tiles(),
    ),
    Claim(
        "C13",
        "Cropping by the model's own signals beats external tools, which help too.",
        "Table 4, appendix F",
        quoted.tools(),
        "04_main_table",
        cannot=f"{NO_TOOLS}, and were not trained on drawn scenes",
        cannot_gpu=f"{NO_COMMAND}{NO_TOOLS}",
    ),
    Claim(
        "C14",
        "Looking adds little time, whatever the answer's length; rel-att about five "
        "answer tokens.",
        "Table 4, section 6",
        "rel-att, in answer tokens on a GPU: "
        + ", ".join(f"{m} {paper.answer_tokens(m, 'rel-att'):.1f}" for m in BOTH),
        "06_cost",
        signs.overhead(),
        cannot="a CPU's answer token is not a GPU's, nor a small model's a 7B one's",
        cannot_gpu="`make bench` on a machine with a GPU",
    ),
    Claim(
        "C15",
        "It still helps when the prompt lists the text that OCR found.",
        "appendix A",
        "rel-att: " + paper.points(paper.OCR.change("llava", "rel-att", "textvqa")),
        "open_questions",
        cannot="drawn scenes have no OCR tokens",
        cannot_gpu=f"{NO_COMMAND}prompts with OCR tokens are not made here",
    ),
    Claim(
        "C16",
        "It adds to what training at higher resolution gives.",
        "Table 6, appendix D",
        "llava-next, rel-att: "
        + paper.listed(
            {c: TABLE_6.change("llava-next", "rel-att", c) for c in TABLE_6.columns}
        ),
        "open_questions",
        cannot="no embedded model was trained at two resolutions",
        cannot_gpu=f"{NO_COMMAND}LLaVA-NeXT has no adapter here",
    ),
    Claim(
        "C17",
        "Untrained, it beats SEAL, which is trained for this, save on V*; and it is "
        "faster.",
        "Table 7, appendix E",
        "V*: SEAL {:.2f}, rel-att {:.2f}; seconds {:.2f} and {:.2f}".format(
            *(
                TABLE_7.value(*row, column)
                for column in ("vstar", "seconds")
                for row in TABLE_7.rows
            )
        ),
        "04_main_table",
        cannot="SEAL is not part of this package",
        cannot_gpu=f"{NO_COMMAND}SEAL is not part of this package",
    ),
    Claim(
        "C18",
        "Nothing is trained, and pure-grad needs no Transformer.",
        "section 5",
        "none: a property of the design",
        "../method",
        true="weights are frozen, and no number could differ",
    ),
    Claim(
        "C19",
        "The crop beside the image, not instead of it, keeps the whole in view.",
        "section 5, Figure 4",
        "argued; no ablation found",
        "open_questions#fig-alone",
        signs.crop_alone(),
    ),
    Claim(
        "C20",
        "α times the resolution costs α² times the tokens and α⁴ times the attention.",
        "section 5",
        "arithmetic",
        "06_cost",
        true="arithmetic of a square picture, which no record could contradict",
    ),
    Claim(
        "C21",
        "Questions about relations and counts gain least, since there is one crop.",
        "section 7",
        "stated without numbers",
        "open_questions",
        signs.relations(),
        cannot="every drawn question is about one plate",
    ),
    Claim(
        "C22",
        "The three methods are strong on different questions.",
        "section 7",
        "stated without numbers",
        "03_methods",
        signs.complementary(),
    ),
)
"""All of them, in the order of our list."""


def get(key: str) -> Claim:
    """A claim by its key.

    Raises:
        ValueError: for an unknown key.
    """
    for claim in CLAIMS:
        if claim.key == key:
            return claim
    raise ValueError(f"unknown claim {key!r}; known: C1 to C{len(CLAIMS)}")
