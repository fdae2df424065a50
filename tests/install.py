"""Install the built wheel into an empty environment, and use it there.

``python -m tests.install`` (``make wheel``). Outside the clone, with no other package
than those the wheel asks for, all that the README shows of the package must work.
"""

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).parents[1]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "vicrop", "data_prep", "embedded")
DRAW = (
    "from embedded import scenes; from PIL import Image; "
    "Image.fromarray(scenes.draw(scenes.PLATES, 3)[1]).save('photo.jpg')"
)
FEW = " --limit 4"


def build(folder: Path) -> Path:
    """The wheel of what is here now; not in the clone, whose ``build/`` may be old."""
    bare = folder / "source"
    bare.mkdir()
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in SOURCES:
        here = ROOT / name
        if here.is_dir():
            shutil.copytree(here, bare / name, ignore=skip)
        else:
            shutil.copy(here, bare)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-build-isolation"]
    subprocess.run([*pip, "--no-deps", "-w", str(folder), str(bare)], check=True)
    return next(folder.glob("*.whl"))


def locked() -> str:
    """``requirements.lock`` as constraints, which take neither hashes nor extras."""
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    found = re.findall(r"^([\w.-]+)(?:\[.*?\])?(==[^ \\]+)( ;[^\\]*)?", lock, re.M)
    return "\n".join(map("".join, found))


def shown(language: str) -> list[str]:
    """The README's blocks of code in a language that use the package."""
    text = (ROOT / "README.md").read_text("utf-8")
    blocks = re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)
    return [block for block in blocks if "vicrop" in block]


def commands() -> list[str]:
    """What the README does in a shell with a picture and with drawn data, and more."""
    found = [
        line.split("  #")[0].strip()
        for line in shown("bash")[0].splitlines()
        if line.startswith("vicrop ")
    ]
    few = [line + FEW if line.startswith("vicrop run ") else line for line in found]
    return ["vicrop models", "vicrop prep plates", *few]


def use(work: Path, environment: dict[str, str]) -> None:
    """Run the README's lines in ``work``.

    Raises:
        RuntimeError: if one of them fails, with what it said.
    """
    lines = [
        shlex.join(["python", "-c", code]) for code in (DRAW, *shown("python")) if code
    ]
    for line in lines + commands():
        start = time.perf_counter()
        made = subprocess.run(
            ["bash", "-c", line],
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
        )
        said = line.splitlines()[0][:70]
        if made.returncode:
            raise RuntimeError(f"{said}\n{made.stdout}\n{made.stderr}")
        typer.echo(f"{time.perf_counter() - start:5.1f} s  {said}")


def main(
    torch: Annotated[str, typer.Option(help="What pip is asked for.")] = "torch",
    index: Annotated[str, typer.Option(help="Also asked for torch.")] = "",
) -> None:
    """Build, install, use."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel, limits = build(folder), folder / "constraints.txt"
        limits.write_text(locked())
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        pip = [folder / "venv/bin/pip", "install", "-q", "--no-compile", "-c", limits]
        # Its index is asked for nothing else: where it cannot be reached, that is slow.
        also = ["--extra-index-url", index] if index else []
        start = time.perf_counter()
        subprocess.run([*pip, "--no-deps", *also, torch], check=True)
        subprocess.run([*pip, torch, wheel], check=True)
        typer.echo(f"{time.perf_counter() - start:5.1f} s  pip install {wheel.name}")
        work = folder / "work"
        work.mkdir()
        use(work, {"PATH": f"{folder}/venv/bin:/usr/bin:/bin", "HF_HUB_OFFLINE": "1"})
        for file in ("look.png", "data/plates/data.json"):
            assert (work / file).stat().st_size
        (run,) = (work / "results/runs").iterdir()
        assert (run / "records.jsonl").read_text().count("\n") == int(FEW.split()[1])


if __name__ == "__main__":
    typer.run(main)
