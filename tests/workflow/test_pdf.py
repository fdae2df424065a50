"""The book as a PDF: the script's own parts; the book itself is checked in browser/."""

import importlib.util
import os
import shutil
import subprocess
import sys

import pytest

from vicrop import paths

SCRIPT = paths.ROOT / "workflow" / "pdf.py"


@pytest.fixture(scope="module")
def pdf():
    spec = importlib.util.spec_from_file_location("pdf", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_a_browser_it_says_what_to_install(tmp_path):
    clean = {**os.environ, "PATH": str(tmp_path)}
    clean.pop("CHROMIUM", None)
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--out", str(tmp_path / "book.pdf")],
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("pdf: no Chromium: looked for chromium, ")
    assert "set CHROMIUM" in done.stderr


def test_browser_can_be_named(pdf, monkeypatch):
    monkeypatch.setenv("CHROMIUM", sys.executable)
    assert pdf.chromium() == sys.executable
    monkeypatch.setenv("CHROMIUM", "no-such-program")
    with pytest.raises(FileNotFoundError, match="looked for no-such-program"):
        pdf.chromium()


def test_file_that_is_cut_off_is_no_pdf(pdf, tmp_path):
    file = tmp_path / "x.pdf"
    assert not pdf.is_pdf(file)
    for text, whole in ((b"%PDF-1.4\n...%%EOF\n", True), (b"%PDF-1.4\n...", False)):
        file.write_bytes(text)
        assert pdf.is_pdf(file) == whole


def test_browser_that_prints_nothing_is_told(pdf, tmp_path):
    false = shutil.which("false")
    if false is None:
        pytest.skip("there is no program `false`")
    with pytest.raises(RuntimeError, match="printed no PDF"):
        pdf.print_pdf(false, tmp_path / "page.html", tmp_path / "out.pdf")
