"""``make bench``: told, ours and plain side by side; writes ``measured.json``.

A part that is done is written at once; ``--only PART`` measures one of them again.
"""

import datetime
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks import shortcuts, ways

FILE = Path(__file__).with_name("measured.json")
PARTS = {
    "real": ("ways", ways.real_flops),
    "seconds": ("ways", ways.seconds_of_ways),
    "gpu": ("ways", ways.gpu_seconds),
    "memory": ("memory", ways.memory),
    "box-search": ("box_search", shortcuts.box_search),
    "tiles": ("tiles", shortcuts.tiles),
    "matrix": ("matrix", shortcuts.whole_matrix),
    "methods": ("methods", shortcuts.methods),
}
"""Name on the command line: key in the file, and what makes its rows."""


def machine() -> dict[str, object]:
    """Where and when it was measured."""
    cpu = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": cpu[0] if cpu else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": importlib.metadata.version("transformers"),
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
        "gpu": gpu,
    }


def main(
    only: Annotated[str, typer.Option(help=f"one of {', '.join(PARTS)}")] = "",
    rounds: Annotated[int, typer.Option(help="calls of each way")] = 3,
    out: Annotated[Path, typer.Option(help="the JSON, added to")] = FILE,
) -> None:
    """Measure all parts, or ONLY one, and write them down."""
    if only and only not in PARTS:
        raise typer.BadParameter(f"{only!r} is none of {', '.join(PARTS)}")
    torch.set_num_threads(1)
    # Gradients of random weights vanish; numbers near zero would take ten times longer.
    torch.set_flush_denormal(True)
    found = json.loads(out.read_text("utf-8")) if out.exists() else {}
    for name in [only] if only else PARTS:
        key, make = PARTS[name]
        rows = [{"part": name, **row} for row in make(rounds)]
        others = [row for row in found.get(key, []) if row["part"] != name]
        found |= {"machine": machine(), key: others + rows}
        out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
        typer.echo(f"{name}: {len(rows)} rows in {out.name}")


if __name__ == "__main__":
    typer.run(main)
