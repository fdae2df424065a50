"""Every run and page that is here: what made it, what it took, its errors.

Read from the runs' ``meta.json`` and the kept copies of executed notebooks.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import HTML

from vicrop.adapters import registry
from vicrop.run import checks, results
from vicrop.run.checks import Status
from vicrop.run.folder import RunFolder
from workflow import pages, tables

SHORT = 8
"""Digits of a hash that tell two apart on a page."""

UNKNOWN = "–"


@dataclass(frozen=True)
class ExecutedPage:
    """An executed notebook.

    Attributes:
        target: its name in ``book/executed/``, without ending.
        state: ``executed``, or the error that stopped it.
        errors: of its cells.
        note: what is known of its making; empty if nothing.
    """

    target: str
    state: str
    errors: int
    note: Mapping[str, Any]


def found_pages() -> list[ExecutedPage]:
    """All executed notebooks, then those that failed, by name."""
    return [
        _page(root, file)
        for root in (pages.kept(), pages.unfinished())
        for file in sorted(root.rglob("*.ipynb"))
    ]


def _page(root: Path, file: Path) -> ExecutedPage:
    target = file.relative_to(root).with_suffix("").as_posix()
    book = json.loads(file.read_text(encoding="utf-8"))
    outputs = [out for cell in book["cells"] for out in cell.get("outputs", ())]
    errors = [out for out in outputs if out["output_type"] == "error"]
    state = f"{errors[0]['ename']}: {errors[0]['evalue']}" if errors else "executed"
    note = book["metadata"].get("vicrop", {})
    return ExecutedPage(target, state, len(errors), note)


@dataclass(frozen=True)
class FoundRun:
    """A run, or a shard that is not merged, as it is now.

    Attributes:
        folder: of it.
        meta: what its ``meta.json`` says.
        now: how far it is.
        errors: of its samples that failed, and how many have each.
    """

    folder: RunFolder
    meta: Mapping[str, Any]
    now: Status
    errors: Mapping[str, int]


def found_runs() -> list[FoundRun]:
    """All runs and unmerged shards, by name."""
    return [_run(folder) for folder in checks.folders()]


def _run(folder: RunFolder) -> FoundRun:
    records = (line.record for line in folder.lines())
    failed = Counter(record.error for record in records if record and record.error)
    now = checks.status(folder)
    # A torn meta.json is a run's state, not an end of the page.
    meta = {} if now.state == "broken" else folder.meta()
    return FoundRun(folder, meta, now, failed)


def _environment(note: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    where = {key: str(note[key]) for key in ("machine", "python") if key in note}
    return tuple({**where, **note.get("versions", {})}.items())


class Inventory:
    """All runs and pages that are here, read once.

    Attributes:
        runs: and shards that are not merged.
        pages: executed notebooks, failed ones too.
        numbers: of the environments that made them.
    """

    def __init__(self, leave_out: Iterable[str] = ()):
        hidden = set(leave_out)
        self.runs = found_runs()
        self.pages = [page for page in found_pages() if page.target not in hidden]
        notes = [one.meta for one in self.runs] + [one.note for one in self.pages]
        kinds = dict.fromkeys(
            _environment(note) for note in notes if "versions" in note
        )
        self.numbers = {kind: str(number) for number, kind in enumerate(kinds, 1)}

    def environments(self) -> pd.DataFrame:
        """A row for each machine and set of versions, and what was made with it."""
        made = [self._number(run.meta) for run in self.runs]
        drawn = [self._number(page.note) for page in self.pages]
        rows = [
            {"no.": n, **dict(kind), "runs": made.count(n), "pages": drawn.count(n)}
            for kind, n in self.numbers.items()
        ]
        return pd.DataFrame(rows).fillna(UNKNOWN)

    def _number(self, note: Mapping[str, Any]) -> str:
        return self.numbers.get(_environment(note), UNKNOWN)

    def run_table(self) -> pd.DataFrame:
        """A row a run: its state, errors, cost, and hashes of what it depends on."""
        drawn = {page.target: page for page in self.pages}
        return pd.DataFrame([self._run_row(run, drawn) for run in self.runs])

    def _run_row(
        self, run: FoundRun, drawn: Mapping[str, ExecutedPage]
    ) -> dict[str, Any]:
        meta, now = run.meta, run.now
        config, identity = meta.get("config", {}), meta.get("identity", {})
        changed = meta.get("finished") and run.folder.seal() != meta.get("records")
        page = drawn.get(f"runs/{now.name}")
        return {
            "run": now.name,
            "state": f"{now.state}, records changed" if changed else now.state,
            "questions": now.done,
            "errors": now.failed,
            "seconds": _seconds(meta),
            "memory, MB": str(meta.get("peak_memory_mb", UNKNOWN)),
            "device": config.get("device", UNKNOWN),
            "dtype": config.get("dtype", UNKNOWN),
            "data": _short(identity.get("data")),
            "weights": _short(identity.get("weights")),
            "records": _short(meta.get("records", {}).get("sha256")),
            "made with": self._number(meta),
            "page, seconds": _seconds(page.note) if page else UNKNOWN,
            "notes": "; ".join(meta.get("notes", [])) or UNKNOWN,
        }

    def grids(self) -> HTML:
        """A table a data set: methods by models, each cell a gain and its run's page.

        Of finished runs over whole data sets. The gain is over the plain answers of the
        same questions, in points; of ``no-crop`` there is the accuracy.
        """
        made = [one for one in self.runs if one.now.state == "finished"]
        found: dict[str, dict[tuple[str, str], FoundRun]] = {}
        for run in made:
            config = run.folder.config()
            whole = run.folder.folder.name == config.run_id and not config.limit
            if whole and config.layer is None:
                place = tables.label(config), config.model
                found.setdefault(config.dataset, {})[place] = run
        return HTML("".join(self._grid(name, runs) for name, runs in found.items()))

    def _grid(self, dataset: str, runs: Mapping[tuple[str, str], FoundRun]) -> str:
        models = sorted(
            {model for _, model in runs}, key=lambda m: (m not in registry.MODELS, m)
        )
        labels = sorted({label for label, _ in runs}, key=_rank)
        head = "".join(f'<th scope="col">{escape(model)}</th>' for model in models)
        body = "".join(
            f'<tr><th scope="row">{escape(label)}</th>'
            + "".join(self._cell(runs.get((label, model))) for model in models)
            + "</tr>"
            for label in labels
        )
        return (
            f'<table class="runs dataframe"><caption>{escape(dataset)}</caption>'
            f"<thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table>"
        )

    def _cell(self, run: FoundRun | None) -> str:
        if run is None:
            return "<td>–</td>"
        made = tables.summary(results.table(run.folder))
        plain = run.folder.config().method == "no-crop"
        found = made.score if plain else made.gain
        effect = "" if plain else _effect(found.low, found.high)
        said = found.format(1, sign=not plain, scale=100)
        number, name = EFFECTS[effect] + said.split(" ")[0], run.now.name
        if any(page.target == f"runs/{name}" for page in self.pages):
            number = f'<a href="runs/{escape(name)}.html">{number}</a>'
        told = f"{said}, n = {made.n}, 95 % interval" if plain or effect else said
        return f'<td class="{effect}" title="{told}">{number}</td>'

    def error_table(self) -> pd.DataFrame:
        """What failed samples failed with, run by run."""
        rows = [
            (run.now.name, error, count)
            for run in self.runs
            for error, count in run.errors.items()
        ]
        return pd.DataFrame(rows, columns=["run", "error", "samples"])

    def page_table(self) -> pd.DataFrame:
        """A row a page that shows no run, and every one that failed."""
        rows = [
            {
                "page": page.target,
                "state": page.state,
                "errors": page.errors,
                "seconds": _seconds(page.note),
                "made with": self._number(page.note),
            }
            for page in self.pages
            if page.errors or not page.target.startswith("runs/")
        ]
        return pd.DataFrame(rows, columns=list(rows[0]) if rows else ["page"])

    def totals(self) -> dict[str, str]:
        """Counts and times over everything, as text."""
        states = [run.now for run in self.runs]
        spent = sum(run.meta.get("seconds", 0) for run in self.runs)
        drawn = sum(page.note.get("seconds", 0) for page in self.pages)
        return {
            "runs": str(len(states)),
            "finished": str(sum(one.state == "finished" for one in states)),
            "answers": f"{sum(one.done for one in states):,}",
            "errors": str(sum(one.failed for one in states)),
            "minutes": f"{spent / 60:.0f}",
            "pages": str(len(self.pages)),
            "failed_pages": str(sum(bool(page.errors) for page in self.pages)),
            "page_minutes": f"{drawn / 60:.1f}",
            "environments": str(len(self.numbers)),
        }


EFFECTS = {"": "", "up": "▲ ", "down": "▼ ", "same": "≈ "}
"""What stands before a gain: nothing where there is no interval, else whether it is

above 0, below it, or holds it.
"""


def _effect(low: float, high: float) -> str:
    return "up" if low > 0 else "down" if high < 0 else "same" if low <= high else ""


def _rank(label: str) -> tuple[int, str]:
    """How methods follow each other, by their label."""
    return tables.ORDER.index(label.split(",")[0]), label


def _seconds(note: Mapping[str, Any]) -> str:
    return f"{note['seconds']:,.1f}" if "seconds" in note else UNKNOWN


def _short(digest: str | None) -> str:
    return digest[:SHORT] if digest else UNKNOWN
