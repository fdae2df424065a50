"""What a GPU's arithmetic and memory allow: the least time of a question's steps."""

from dataclasses import dataclass

import pandas as pd

from analysis.costs.counts import Measured


@dataclass(frozen=True)
class Roofline:
    """A machine's two limits.

    Attributes:
        name: of the machine.
        flops: per second.
        bandwidth: bytes per second.
    """

    name: str
    flops: float
    bandwidth: float

    @property
    def balance(self) -> float:
        """Tokens of a pass above which arithmetic is the limit, 16-bit weights.

        A token costs two operations a weight, and a weight is two bytes to be read.
        """
        return self.flops / self.bandwidth

    def seconds(self, weights: float, tokens: int) -> float:
        """Least time of a pass of so many tokens through so many 16-bit weights."""
        return max(2 * weights * tokens / self.flops, 2 * weights / self.bandwidth)


A100 = Roofline("NVIDIA A100 80 GB (data sheet)", 312e12, 2.039e12)


def steps(
    measured: Measured, weights: float = 6.61e9, limit: Roofline = A100
) -> pd.DataFrame:
    """Least times of a question's steps on a GPU, LLaVA-1.5-7B's rel-att.

    Args:
        measured: for the lengths of prompts and answers.
        weights: of the language model.
        limit: of the machine.
    """
    row = measured.ways[
        (measured.ways["shape"] == "real") & (measured.ways.family == "llava")
    ].iloc[0]
    parts = {
        "image's tokens": (row.image_tokens, 1),
        "question's words": (row.text_tokens, 1),
        "crop's tokens and words": (row.crop_tokens + row.text_tokens, 1),
        "answer tokens, both answers": (1, 2 * (row.answer_tokens - 1)),
    }
    return pd.DataFrame(
        {
            "step": name,
            "tokens a pass": tokens,
            "passes": passes,
            "least time, ms": 1000 * passes * limit.seconds(weights, tokens),
            "limited by": "arithmetic" if tokens > limit.balance else "memory",
        }
        for name, (tokens, passes) in parts.items()
    )
