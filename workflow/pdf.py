"""The book as one PDF: all pages on one, printed by Chromium. No LaTeX is needed.

``make pdf`` calls it when the notebooks are executed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS = 300
"""For all pages in one to be laid out and printed."""


def chromium() -> str:
    """The browser's program: ``CHROMIUM``, or the first that is installed.

    Raises:
        FileNotFoundError: if there is none.
    """
    names = [os.environ["CHROMIUM"]] if os.environ.get("CHROMIUM") else NAMES
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise FileNotFoundError(
            f"no Chromium: looked for {', '.join(names)}; install it (Debian: `apt "
            "install chromium`), or set CHROMIUM to its program"
        )
    return found


def one_page(folder: Path) -> Path:
    """Build the whole book as one HTML page; where it is."""
    program = Path(sys.executable).with_name("jupyter-book")
    build = [str(program), "build", str(ROOT)]
    build += ["--builder", "singlehtml", "--path-output", str(folder)]
    subprocess.run(build, check=True)
    site = folder / "_build" / "singlehtml"
    # The root page lies in a folder, but its links are as if it lay beside the others.
    first = site / "book" / "executed" / "intro.html"
    return Path(shutil.copy(first, site / "all.html"))


def print_pdf(browser: str, page: Path, out: Path) -> None:
    """Print a page of this machine; other addresses cannot be reached."""
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, "--headless", "--disable-gpu", f"--user-data-dir={profile}"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command += ["--no-sandbox"]  # as root Chromium has none
        command += ["--host-resolver-rules=MAP * ~NOTFOUND"]
        command += ["--allow-file-access-from-files", "--virtual-time-budget=60000"]
        command += ["--no-pdf-header-footer", "--generate-pdf-document-outline"]
        command += [f"--print-to-pdf={out}", page.resolve().as_uri()]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    if done.returncode or not is_pdf(out):
        raise RuntimeError(f"{browser} printed no PDF: {done.stderr.strip()[-500:]}")


def is_pdf(file: Path) -> bool:
    """Whether a file begins and ends as a PDF does."""
    if not file.exists():
        return False
    text = file.read_bytes()
    return text.startswith(b"%PDF-") and b"%%EOF" in text[-32:]


def main() -> None:
    """Build, print, and say where the PDF is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "_build" / "book.pdf")
    parser.add_argument(
        "--page", type=Path, help="print this page, and do not build the book"
    )
    given = parser.parse_args()
    try:
        browser = chromium()
    except FileNotFoundError as error:
        sys.exit(f"pdf: {error}")
    out = given.out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        page = given.page or one_page(Path(folder))
        print_pdf(browser, page, out)
    print(f"{out} ({out.stat().st_size / 2**20:.1f} MB)")


if __name__ == "__main__":
    main()
