"""What pages are told to depend on: followed in small trees, and in this one."""

import json
import subprocess
import sys

import pytest

import workflow
from vicrop import paths
from workflow import sources


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Writes modules below a root of their own; a notebook where a list is given."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    for cached in (sources._parsed, sources._asked, sources._modules):
        cached.cache_clear()

    def write(**files):
        for name, text in files.items():
            file = tmp_path / name.replace("__", "/").replace("_init", "/__init__")
            file = file.with_suffix(".ipynb" if isinstance(text, list) else ".py")
            file.parent.mkdir(exist_ok=True)
            file.write_text(book(text) if isinstance(text, list) else text)
        return lambda name: sources.sources_of(tmp_path / name)

    yield write
    for cached in (sources._parsed, sources._asked, sources._modules):
        cached.cache_clear()


def book(cells):
    made = [{"cell_type": kind, "source": [text]} for kind, text in cells]
    return json.dumps({"cells": made})


def test_imports_are_followed_wherever_they_stand(tree):
    found = tree(
        one="import os\ndef f():\n    from pack import two\n",
        pack_init="",
        pack__two="if True:\n    import three as t\n",
        three="",
        four="",
    )
    assert found("one.py") == ["pack/__init__.py", "pack/two.py", "three.py"]


def test_what_is_for_type_checkers_is_not_run(tree):
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import two\n"
    assert tree(one=text, two="")("one.py") == []


def test_notebook_is_its_code_and_not_its_words(tree):
    found = tree(
        page=[("markdown", "import two"), ("code", "import one"), ("code", "1")],
        one="",
        two="",
    )
    assert found("page.ipynb") == ["one.py"]


def test_code_is_told_apart_from_words_captions_and_outputs(tmp_path):
    file = tmp_path / "page.ipynb"

    def hashed(text, code="1 + 1", **more):
        cells = [{"cell_type": "markdown", "source": [text]}]
        cells += [{"cell_type": "code", "source": code, **more}]
        file.write_text(json.dumps({"cells": cells}))
        return sources.code_of(file)

    assert hashed("a") == hashed("b", metadata={"caption": "c"}, outputs=["2"])
    assert hashed("a") == hashed("a", code=["1 ", "+ 1"]) != hashed("a", code="1 + 2")


LAZY = """
from importlib import import_module
_HOMES = {"load": "inner", "walk": "way"}
own = 1
def __getattr__(name):
    if name == "go":
        from pack.going import go
        return go
    return getattr(import_module(f"pack.{_HOMES[name]}"), name)
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import pack; pack.load(1)", ["pack/inner.py"]),
        ("from pack import go", ["pack/going.py"]),
        ("import pack as p\nx = p.walk", ["pack/way.py"]),
        ("import pack; pack.inner.load, pack.own, pack.__file__", ["pack/inner.py"]),
        ("import pack.going; pack.load", ["pack/going.py", "pack/inner.py"]),
    ],
)
def test_lazy_package_gives_the_modules_of_names_that_are_used(tree, text, expected):
    found = tree(
        one=text,
        pack_init=LAZY,
        pack__inner="",
        pack__going="",
        pack__way="",
    )
    assert [f for f in found("one.py") if f != "pack/__init__.py"] == expected


def test_name_that_a_lazy_package_does_not_have_is_an_error(tree):
    found = tree(one="import pack; pack.lode", pack_init=LAZY)
    with pytest.raises(ImportError, match="pack has no name 'lode'"):
        found("one.py")


def test_modules_imported_by_computed_names_are_all_of_their_folder(tree):
    text = "import importlib\ndef get(x):\n    importlib.import_module(f'pack.{x}')"
    found = tree(one=text, pack_init="", pack__a="", pack__b="")
    assert found("one.py") == ["pack/__init__.py", "pack/a.py", "pack/b.py"]


@pytest.mark.parametrize("page", sorted(workflow.notebooks().glob("*.ipynb")))
def test_every_notebook_can_be_followed(page):
    found = sources.sources_of(page)
    assert "vicrop/__init__.py" in found
    assert all((paths.ROOT / file).is_file() for file in found)


def test_pages_of_runs_use_nothing_of_the_analyses():
    found = sources.sources_of(workflow.notebooks() / "run.ipynb")
    assert {file.split("/")[0] for file in found} == {"vicrop", "workflow"}
    for used in ("run/loop.py", "run/scores.py", "plots.py", "attribution/paper.py"):
        assert f"vicrop/{used}" in found
    own = [file for file in found if file.startswith("workflow/")]
    assert own == [f"workflow/{n}.py" for n in ("__init__", "parameters", "replay")]


def test_what_is_followed_is_what_python_loads():
    """No module of this repository is loaded by a notebook's imports and not found."""
    page = workflow.notebooks() / "scores.ipynb"
    imports = [cell for cell in sources._cells(page) if "import" in cell]
    code = "\n".join([*imports, "import sys", "print(*sys.modules)"])
    made = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=paths.ROOT,
    )
    loaded = map(sources._file, made.stdout.split())
    own = {str(file.relative_to(paths.ROOT)) for file in filter(None, loaded)}
    assert own and own <= set(sources.sources_of(page))
