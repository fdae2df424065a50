"""The book's pages: a notebook's executed code under the words of its source today.

``python -m workflow.pages`` lays the words anew; nothing is executed for it.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import nbformat
import typer
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

import workflow
from vicrop import paths
from vicrop.run.folder import RunFolder
from vicrop.run.records import HOW, RunConfig
from vicrop.types import markdown
from workflow import links, matrix, plans, tables

TEMPLATE = "run"
INJECTED = "injected-parameters"
"""Tag of the cell that papermill adds."""
LARGEST_DOWNLOAD = 2_000_000
"""Bytes of a run's records up to which the book brings them along."""


@dataclass(frozen=True)
class Page:
    """A notebook, and what is made of it.

    Attributes:
        source: name of the notebook in ``notebooks/``, without ending.
        target: name of the executed copy in ``book/executed/``, without ending.
        parameters: injected after its parameters cell.
        title: written over ``{run_title}`` in its first cell.
        config: of the run that it shows; None for other pages.
    """

    source: str
    target: str
    parameters: dict[str, Any] = field(default_factory=dict)
    title: str = ""
    config: RunConfig | None = None

    @property
    def notebook(self) -> Path:
        """The source."""
        return workflow.notebooks() / f"{self.source}.ipynb"

    @property
    def kept(self) -> Path:
        """What execution gave, with what it took; the source's code, old words."""
        return kept() / f"{self.target}.ipynb"

    @property
    def shown(self) -> Path:
        """What the book shows."""
        return workflow.executed() / f"{self.target}.ipynb"

    @property
    def half(self) -> Path:
        """The copy while it is executed, and for good if a cell failed."""
        return unfinished() / f"{self.target}.ipynb"


def kept() -> Path:
    """Folder of what was executed."""
    return paths.results() / "pages"


def unfinished() -> Path:
    """Folder of the notebooks in which a cell failed."""
    return workflow.executed() / "unfinished"


def of_run(config: RunConfig) -> Page:
    """The template with a run's parameters."""
    given = config.model_dump(exclude_defaults=True, exclude=set(HOW))
    named = {"model": config.model, "method": config.method, "dataset": config.dataset}
    title = f"{config.model} · {tables.label(config)} · {config.dataset}"
    parameters = {**given, **named, "limit": config.limit, "progress": False}
    return Page(TEMPLATE, f"runs/{config.run_id}", parameters, title, config)


def of_size(size: str, file: Path = plans.MATRIX) -> list[Page]:
    """The pages of a size: of its runs, then those that read the records."""
    configs, names = matrix.chosen(file, size)
    return [*map(of_run, configs), *(Page(name, name) for name in names)]


def lay(page: Page, beside: Sequence[RunConfig] = ()) -> Path:
    """Write the page as the book shows it.

    The same every time: nothing is left of times, random ids, and counts of cells that
    begin where another notebook ended.

    Args:
        page: that was executed.
        beside: runs that have pages, to lead to from a run's.

    Raises:
        FileNotFoundError: if it was not executed.
        ValueError: if its source has other code by now.
    """
    if not page.kept.exists():
        raise FileNotFoundError(
            f"no executed copy in {page.kept}; make all anew with `snakemake --profile "
            "workflow/profiles/local pages --forcerun due`"
        )
    source, made = (nbformat.read(file, 4) for file in (page.notebook, page.kept))
    first, *others = _filled(page, source.cells, made.cells)
    first.source = first.source.replace("{run_title}", markdown(page.title))
    cells = [first, new_markdown_cell(opening(page, beside)), *others]
    for number, cell in enumerate(cells):
        _settle(cell, number)
    told = {
        "kernelspec": made.metadata["kernelspec"],
        "language_info": {"name": "python"},
        "papermill": {"parameters": page.parameters},
    }
    book = nbformat.v4.new_notebook(cells=cells, metadata=told)
    page.shown.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(book, page.shown)
    return page.shown


def _filled(
    page: Page, source: list[NotebookNode], made: list[NotebookNode]
) -> Iterator[NotebookNode]:
    """The source's cells with their outputs, and the added cell of parameters."""
    added = [cell for cell in made if INJECTED in cell.metadata.get("tags", ())]
    ran = [cell for cell in made if cell.cell_type == "code" and cell not in added]
    code = [cell for cell in source if cell.cell_type == "code"]
    if [cell.source for cell in ran] != [cell.source for cell in code]:
        raise ValueError(f"{page.notebook} has other code than {page.kept} is of")
    for cell in code:
        cell.outputs = ran.pop(0).outputs
    for cell in source:
        yield cell
        if "parameters" in cell.metadata.get("tags", ()):
            for one in added:
                one.metadata.tags = [*one.metadata.tags, "hide-cell"]
                yield one


def _settle(cell: NotebookNode, number: int) -> None:
    cell["id"] = f"c{number:02d}"
    for name in ("papermill", "execution"):
        cell.metadata.pop(name, None)
    if cell.cell_type == "code":
        cell.execution_count = number
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number


def opening(page: Page, beside: Sequence[RunConfig] = ()) -> str:
    """What a page says first: how to run it again; a run's, what is near it too."""
    said = links.line(page.source, page.parameters)
    if page.config is None:
        return said
    said = f"{near(page.config, beside)}{said}"
    records = RunFolder.of(page.config).records_file
    where = links.code(f"{records.parent.parent.name}/{records.parent.name}")
    if not records.exists() or records.stat().st_size > LARGEST_DOWNLOAD:
        return f"{said}\n\n**Its records:** {records.name} in {where}"
    path = os.path.relpath(records, page.shown.parent)
    return (
        f"{said}\n\n**Its records:** {{download}}`{records.name} <{path}>` in {where}"
    )


def near(config: RunConfig, beside: Sequence[RunConfig]) -> str:
    """Links from a run's page to those of its model's and its method's other runs."""
    here = tables.label(config)
    others = [o for o in beside if o.dataset == config.dataset and o != config]
    methods = {tables.label(o): o for o in others if o.model == config.model}
    models = {o.model: o for o in others if tables.label(o) == here}
    found = {"Same model, other method": methods, "Same method, other model": models}
    lines = [f"**{kind}:** {_links(runs)}" for kind, runs in found.items() if runs]
    return "".join(f"{line}\n\n" for line in lines)


def _links(runs: Mapping[str, RunConfig]) -> str:
    each = [f"[{markdown(n)}](<{one.run_id}.ipynb>)" for n, one in runs.items()]
    return " · ".join(each)


def main(
    size: str = "embedded",
    file: Annotated[Path, typer.Option(help="The matrix.")] = plans.MATRIX,
) -> None:
    """Lay today's words over the executed pages of a size."""
    chosen = of_size(size, file)
    runs = [page.config for page in chosen if page.config]
    for page in chosen:
        lay(page, runs)


if __name__ == "__main__":
    typer.run(main)
