"""By what each claim of the paper could be seen: its readings, at both sizes."""

from collections.abc import Callable, Iterable

from analysis import crops, paper
from analysis.claims import measures
from analysis.claims.evidence import EMBEDDED, GPU, Need, Probe, Run
from analysis.claims.readings import Above, Below, NoLoss, Reading, Rule, Same, Shown
from analysis.paper import METHODS
from vicrop.run.stats import Estimate

SIZES = (EMBEDDED, GPU)
GROUPS = ("small", "medium", "large")
BOTH = ("llava", "instructblip")
"""The families whose crops the paper measures."""

LOSS = 2.0
"""Points: a smaller loss counts as none. The paper's largest is below 0.25."""
EQUAL = 5.0
"""Points within which accuracies count as the same; the paper's largest is near 1."""
DOUBLE = Same(1.0, words="from half to double")
"""When two attention ratios, in doublings (of base 2), count as equally strong."""
MOST = 50.0
"""Percent: more is most of them."""


def where(size: str) -> str:
    """The data set of a claim about details in general: ours, or the paper's."""
    return "plates" if size == EMBEDDED else "textvqa"


def on_plates(method: str, group: str = "small") -> Run:
    """A run over the drawn scenes."""
    return Run("plates", method, group=group)


def large_pictures(method: str, size: str) -> Run:
    """A run over large pictures: ours, or V*."""
    if size == EMBEDDED:
        return Run("plates-hd", method, group="small")
    return Run("vstar", method)


def probed(
    name: str,
    probe: str,
    measure: Callable[..., Estimate],
    rule: Rule,
    unit: str = "points",
    told: bool = False,
) -> tuple[Reading, ...]:
    """A reading of a probe, of models of both sizes."""
    needs: tuple[Need, ...] = (Probe(probe),)
    return tuple(
        Reading(name, size, needs, measure, rule, unit=unit, told=told)
        for size in SIZES
    )


def zoom() -> tuple[Reading, ...]:
    """Ever closer views, question unchanged (C1)."""
    steps = [("step 4", "step 0", "closest view over the whole image")]
    steps += [
        (f"step {n}", f"step {n - 1}", f"view {n} over view {n - 1}")
        for n in range(1, 5)
    ]
    return tuple(
        reading
        for one, other, name in steps
        for reading in probed(
            f"probability of the right answer, {name}",
            "zoom",
            measures.named(one, other),
            Above(),
        )
    )


def by_size() -> tuple[Reading, ...]:
    """Small and large objects, image alone (C2)."""
    return tuple(
        Reading(
            "large minus small objects, image alone",
            size,
            tuple(Run(where(size), "no-crop", group=g) for g in ("small", "large")),
            measures.fall,
            Above(),
        )
        for size in SIZES
    )


SQUARES = {
    "human-crop-tight": "the paper's: the smallest square around the object",
    "human-crop": "at least as wide as the model's input",
}
"""Crops around an object, and how large they are."""


def human() -> tuple[Reading, ...]:
    """A crop around the object (C4): the paper's, and at embedded size ours too."""
    both = (*((EMBEDDED, crop) for crop in SQUARES), (GPU, "human-crop-tight"))
    return tuple(reading for size, crop in both for reading in _around(size, crop))


def _around(size: str, crop: str) -> list[Reading]:
    name = f"gain of {crop} ({SQUARES[crop]})"
    made = [
        Reading(
            f"{name}, {group} objects",
            size,
            (Run(where(size), crop, group=group),),
            measures.gain,
            Above(),
            told=group == "small",
        )
        for group in GROUPS
    ]
    ends = tuple(Run(where(size), crop, group=g) for g in ("small", "large"))
    apart = f"{name}, small minus large objects"
    return [*made, Reading(apart, size, ends, measures.gains_apart, Above())]


def perception() -> tuple[Reading, ...]:
    """Wrong answers where the map is right (C7)."""
    made = []
    for size in SIZES:
        kinds = ("rel-att", "random-crop", "human-crop", "full-twice")
        rel, blind, human, twice = (
            Run(where(size), name, group="small") for name in kinds
        )
        made += [
            Reading(
                "finding: small objects answered wrongly from the image alone, in "
                "rel-att's crop minus in a random one",
                size,
                (rel, blind),
                measures.found_when_wrong,
                Above(),
            ),
            Reading(
                "finding: of small objects still answered wrongly with rel-att's crop, "
                "the share that the crop missed",
                size,
                (rel,),
                measures.missed_when_left,
                Below(MOST),
                unit="%",
                told=True,
            ),
            Reading(
                "seeing: answered wrongly though in rel-att's crop, human crop over "
                "the image given twice",
                size,
                (rel, human, twice),
                measures.read_when_found,
                Above(),
            ),
        ]
    return tuple(made)


def gains(datasets: Iterable[str], rule: Rule) -> list[Reading]:
    """Gains of the three methods at GPU size; V* with tiles."""
    return [
        Reading(f"gain of {made}, {name}", GPU, (Run(name, made),), measures.gain, rule)
        for name in datasets
        for made in (f"{m}-high" if name == "vstar" else m for m in METHODS)
    ]


def embedded_gains(runs: Iterable[Run], rule: Rule) -> list[Reading]:
    """Gains of runs over drawn scenes."""
    return [
        Reading(
            f"gain of {run.method}, {run.group} objects, {run.dataset}",
            EMBEDDED,
            (run,),
            measures.gain,
            rule,
        )
        for run in runs
    ]


def more_than_instructblip() -> tuple[Reading, ...]:
    """LLaVA's gains beside InstructBLIP's (C10)."""
    asked: list[tuple[str, str, str, tuple[str, ...]]] = [
        (EMBEDDED, "plates", "small", METHODS),
        (GPU, "docvqa", "", METHODS),
        (GPU, "textvqa", "", METHODS),
        (GPU, "vstar", "", tuple(f"{m}-high" for m in METHODS)),
    ]
    return tuple(
        Reading(
            f"gain of {method} less InstructBLIP's, {dataset} {group}".strip(),
            size,
            (
                Run(dataset, method, group=group),
                Run(dataset, method, family="instructblip", group=group),
            ),
            measures.gains_over,
            Above(),
            ("llava",),
        )
        for size, dataset, group, methods in asked
        for method in methods
    )


def tiles() -> tuple[Reading, ...]:
    """Large pictures, with tiles and without (C12)."""
    said: list[tuple[str, str, Rule]] = [
        ("rel-att", "llava", Above()),
        ("grad-att", "llava", Above()),
        ("grad-att", "instructblip", Below()),
        ("pure-grad", "instructblip", Below()),
    ]
    made = [
        Reading(
            f"{method}-high over {method}",
            size,
            (large_pictures(f"{method}-high", size), large_pictures(method, size)),
            measures.over,
            rule,
            (family,),
        )
        for size in SIZES
        for method, family, rule in said
    ]
    made += [
        Reading(
            f"gain of {method}, large pictures",
            size,
            (large_pictures(method, size),),
            measures.gain,
            Above(),
            BOTH,
        )
        for size in SIZES
        for name in METHODS
        for method in (name, f"{name}-high")
    ]
    return tuple(made)


def ratio() -> tuple[Reading, ...]:
    """Attention ratios above 1 (C5), of all boxes as in Figure 3, and of small ones."""
    return tuple(
        reading
        for sizes, end in (("all sizes", ", all sizes"), ("small objects", ""))
        for reading in (
            *probed(
                f"mean attention ratio at the map's layer, {sizes}",
                f"map's layer{end}",
                measures.mean_ratio,
                Above(1),
                "×",
                told=True,
            ),
            *probed(
                f"layers at which an object's ratio is above 1, {sizes}",
                f"layers{end}",
                measures.layers_above,
                Above(MOST),
                "%",
            ),
        )
    )


def ratio_when_wrong() -> tuple[Reading, ...]:
    """Attention ratios of wrong answers beside those of right ones (C6)."""
    return probed(
        "mean log₂ of the ratio, wrong minus right, small objects",
        "map's layer",
        measures.wrong_over_right,
        DOUBLE,
        "log₂",
    )


def averaged() -> tuple[Reading, ...]:
    """The mean of all layers against the map's layer (C11)."""
    return probed(
        "accuracy, crop of the mean of all layers minus the map's layer",
        "chosen layer",
        measures.named(crops.ALL, crops.ONE),
        Same(EQUAL),
    )


def details() -> tuple[Reading, ...]:
    """The three methods where details matter (C8)."""
    drawn = [on_plates(method) for method in METHODS]
    drawn += [large_pictures(f"{method}-high", EMBEDDED) for method in METHODS]
    return (*embedded_gains(drawn, Above()), *gains(paper.DETAILED, Above()))


def no_loss() -> tuple[Reading, ...]:
    """The three methods where they do not (C9)."""
    drawn = [on_plates(method, "large") for method in METHODS]
    rule = NoLoss(LOSS)
    return (*embedded_gains(drawn, rule), *gains(paper.GENERAL, rule))


def complementary() -> tuple[Reading, ...]:
    """The best of three answers against the best method's (C22)."""
    return tuple(
        Reading(
            "best answer of the three methods minus the best method's",
            size,
            tuple(Run(where(size), m, group="small") for m in METHODS),
            measures.oracle,
            Above(LOSS),
        )
        for size in SIZES
    )


def relations() -> tuple[Reading, ...]:
    """Questions about one object against questions about two (C21)."""
    kinds = ("direct_attributes", "relative_position")
    return tuple(
        Reading(
            f"gain of {method}, attributes minus positions, vstar",
            GPU,
            tuple(Run("vstar", method, kind=kind) for kind in kinds),
            measures.gains_apart,
            Above(),
        )
        for method in (f"{m}-high" for m in METHODS)
    )


def crop_alone() -> tuple[Reading, ...]:
    """[image, crop] against the crop alone (C19)."""
    return probed(
        "accuracy, image and crop minus crop alone, rel-att",
        "crop alone",
        measures.named("image and crop", "crop alone"),
        Above(),
    )


def overhead() -> tuple[Reading, ...]:
    """What rel-att adds, in answer tokens (C14): shown, not compared."""
    reading = Reading(
        "time that rel-att and its second answer add, in answer tokens",
        EMBEDDED,
        (Probe("cost"),),
        measures.answer_tokens,
        Shown(),
        unit="tokens",
    )
    return (reading,)
