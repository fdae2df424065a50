"""The package's layers: who may import whom, and what an import may cost."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import vicrop

PACKAGE = Path(vicrop.__file__).parent
ROOT = PACKAGE.parent

# design.md's order: each module imports only those before it.
ORDER = (
    "lines paper quoted types paths images geometry boxes datasets scoring savedmaps"
    " owner runfolder shards results stats rescore scorecard worked progress status"
    " stopping ahead cache tail capture adapters attribution look tiles view views"
    " together gaze crops phrasing anatomy probes diagnosis causes decomposition"
    " cropgains pipeline provenance task looker batches run show verify matrix"
    " preflight planned plans executed rerun formats warm execute pagetable plots"
    " panels breakdowns explorer costs goals roofline costtables costplots scaling"
    " evidence readings layerwise measures signs claims probing ledger besides"
    " questions tiny readme options runcli cli"
).split()
# adapters.base makes Views, so that `vlm.look(image)` reads well.
EXCEPTIONS = {("adapters", "view")}
PLOTS_SEES = {"types", "results", "stats", "boxes", "pagetable"}


def module_of(file: Path) -> str:
    """The name of the layer that a file is in."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(file: Path):
    """(layer, whether only when a function is called) of what a file imports."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        lazy = node not in tree.body
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "vicrop":
            names = [f"vicrop.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            names = [node.module]
        else:
            continue
        for name in names:
            if name.startswith("vicrop."):
                yield name.split(".")[1], lazy


FILES = sorted(file for file in PACKAGE.rglob("*.py") if file.parent != PACKAGE) + [
    file for file in sorted(PACKAGE.glob("*.py")) if file.name != "__init__.py"
]


def test_every_module_has_its_place_in_the_order():
    assert {module_of(file) for file in FILES} == set(ORDER)


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_module_imports_only_layers_below_it(file):
    here = module_of(file)
    for other, lazy in imports_of(file):
        if (here, other) in EXCEPTIONS and lazy:
            continue
        assert ORDER.index(other) <= ORDER.index(here), f"{here} imports {other}"


def test_exceptions_are_still_needed():
    for here, other in EXCEPTIONS:
        files = [file for file in FILES if module_of(file) == here]
        assert any((other, True) in set(imports_of(file)) for file in files)


@pytest.mark.parametrize("name", ["plots", "panels", "breakdowns"])
def test_plots_see_only_values(name):
    seen = {other for other, _ in imports_of(PACKAGE / f"{name}.py")} - {"plots"}
    assert seen <= PLOTS_SEES


def mentions_of_tiny(file: Path):
    """Lines of code, docstrings and comments aside, that say "tiny"."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    prose = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        said = [
            value
            for _, value in ast.iter_fields(node)
            if isinstance(value, str) and id(node) not in prose
        ]
        if any("tiny" in text for text in said):
            yield ast.get_source_segment(file.read_text(), node) or said[0]


def test_nothing_outside_its_folder_knows_that_a_model_is_tiny():
    """Save the registry, the folder of its weights, and defaults of parameters."""
    allowed = {
        "adapters/registry.py": {
            '"tiny-llava"',
            '"tiny-llava-unmasked"',
            '"tiny-instructblip"',
            '"tiny-qwen2.5-vl"',
        },
        "types.py": {'"tiny-llava"'},
        "runcli.py": {'"tiny-llava"'},
        "cli.py": {'"tiny-llava"'},
        "paths.py": {'"tiny"'},
    }
    for file in FILES:
        name = str(file.relative_to(PACKAGE))
        if module_of(file) != "tiny":
            assert set(mentions_of_tiny(file)) <= allowed.get(name, set()), name


def test_package_imports_nothing_from_the_folders_below_it():
    below = {"data_prep", "notebooks", "tests", "benchmarks", "book", "workflow"}
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom | ast.Import):
                module = getattr(node, "module", None) or node.names[0].name
                assert module.split(".")[0] not in below, file


def fresh(code: str) -> str:
    """What a fresh interpreter prints."""
    made = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return made.stdout.strip()


def test_importing_the_package_loads_neither_torch_nor_transformers():
    heavy = "{'torch', 'transformers', 'matplotlib', 'pandas'} & set(sys.modules)"
    assert fresh(f"import sys, vicrop; print({heavy} or '')") == ""


def test_notebooks_are_executed_by_processes_without_torch():
    """Their kernels load it; the workers beside them would only wait for it."""
    heavy = "{'torch', 'transformers'} & set(sys.modules)"
    assert fresh(f"import sys, vicrop.execute; print({heavy} or '')") == ""


def test_tables_and_figures_are_made_without_torch():
    names = "types images boxes datasets scoring results stats plots"
    code = f"""
import sys
from importlib import import_module
for name in {names.split()}:
    import_module("vicrop." + name)
print({{"torch", "transformers"}} & set(sys.modules) or "")
"""
    assert fresh(code) == ""


def test_every_public_name_is_there():
    for name in vicrop.__all__:
        assert getattr(vicrop, name) is not None


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'vicrop' has no attribute 'nothing'"):
        vicrop.nothing  # noqa: B018
