"""What the command line promises, whatever it is given; and calls that are held to it.

Each promise is a function of what hypothesis draws. It raises ``Broken`` where the
command line did something else than it says.
"""

import io
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.field import brought
from vicrop import cli, paths
from vicrop.run.folder import RunFolder
from vicrop.run.records import Record
from vicrop.types import printable

CHECKPOINT = paths.WEIGHTS / "tiny-llava"
FIXTURES = Path(__file__).parents[1] / "fixtures"

SECONDS = 300.0
"""A call on a few small pictures that takes longer hangs."""

SAID = re.compile(
    r"vicrop: |note: |failed: |\d+ samples? failed|written: |.*: \d+/\d+, |\s*$"
)
"""How a line on stderr may begin; what begins otherwise is somebody else's."""

USAGE = re.compile(r"^Usage: .*╯$", re.DOTALL | re.MULTILINE)
"""The shell's own way to say that there is no such option."""

CONTROL = re.compile(r"[^\n\t\x20-\x7e\xa0-\U0010ffff]")
"""What a terminal takes for a command."""


class Broken(AssertionError):
    """A promise that was not kept."""


@dataclass(frozen=True)
class Outcome:
    """What a call did."""

    args: tuple[str, ...]
    status: int
    out: str
    err: str
    leaked: tuple[str, ...]
    seconds: float

    def check(
        self, statuses: tuple[int, ...] = (0, 1, 2), about: str = "vicrop"
    ) -> "Outcome":
        """It, if it kept what every call promises.

        Args:
            statuses: that are right here.
            about: what else a line on stderr may begin with, before a colon.
        """
        if self.status not in statuses:
            raise Broken(f"{self.args} ended with status {self.status}: {self.err}")
        lines = USAGE.sub("vicrop: usage", self.err).split("\n")
        errors = [line for line in lines if line.startswith("vicrop: ")]
        known = [line for line in lines if line.startswith(f"{about}: ")]
        others = [line for line in lines if not SAID.match(line) and line not in known]
        if others or "Traceback" in self.err:
            raise Broken(f"{self.args} says on stderr: {others or self.err}")
        if len(errors) != (self.status == 2) and not known:
            raise Broken(f"{self.args} ended with {self.status} and says {errors}")
        if found := CONTROL.findall(self.out + self.err):
            raise Broken(f"{self.args} sends a terminal {set(found)}")
        if self.leaked:
            raise Broken(f"{self.args} let through: {self.leaked}")
        if self.seconds > SECONDS:
            raise Broken(f"{self.args} took {self.seconds:.0f} s")
        return self


class Heard(logging.Handler):
    """Keeps what libraries log as a warning or worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(f"{record.name}: {record.getMessage()}")


class Place:
    """A folder with two pictures and a data set about them, in which vicrop is called.

    Attributes:
        root: the folder; calls are made in it.
        tally: counts what was called and how it ended.
    """

    def __init__(self, root: Path, tally: "Tally"):
        self.root, self.tally = root, tally
        self.data = root / "data"
        (self.data / "images").mkdir(parents=True)
        for number in range(2):
            picture = Image.linear_gradient("L").resize((64, 64)).rotate(90 * number)
            picture.save(self.data / "images" / f"{number}.png")
        self.write(json.dumps([brought.row(0), brought.row(1)]).encode())

    def write(self, text: bytes) -> None:
        """Put these bytes where the data set's rows are."""
        (self.data / "data.json").write_bytes(text)

    def __call__(self, *args: object) -> Outcome:
        """Call vicrop as a shell does; what it did."""
        told = tuple(map(str, args))
        out, err = _stream("strict"), _stream("backslashreplace")
        heard, started = Heard(), time.monotonic()
        with (
            mock.patch.multiple(sys, argv=["vicrop", *told], stdout=out, stderr=err),
            warnings.catch_warnings(record=True) as warned,
        ):
            warnings.simplefilter("always")
            loggers = [logging.getLogger(name) for name in (None, "transformers")]
            for logger in loggers:
                logger.addHandler(heard)
            try:
                status = _status(cli.main)
            finally:
                for logger in loggers:
                    logger.removeHandler(heard)
            if "matplotlib.pyplot" in sys.modules:
                sys.modules["matplotlib.pyplot"].close("all")  # as a process's end does
        seconds = time.monotonic() - started
        leaked = (
            *(f"{w.category.__name__}: {w.message}" for w in warned),
            *heard.lines,
        )
        self.tally.count(status)
        return Outcome(told, status, _text(out), _text(err), leaked, seconds)

    def files(self) -> dict[str, bytes]:
        """All files and folders, with what is in them."""
        return {
            str(file.relative_to(self.root)): file.read_bytes()
            if file.is_file()
            else b""
            for file in self.root.rglob("*")
        }

    def ask(self, *args: object) -> list[Record]:
        """Call ``vicrop run`` twice; the records of its runs, if all is kept.

        None are lost or doubled, and the second time changes none.
        """
        before = self.files()
        first = self("run", "--max-new-tokens=2", *args).check()
        if first.status == 2:
            self.unchanged(before, first)
            return []
        files = [Path(name) for name in re.findall("^records: (.*)$", first.out, re.M)]
        made = [file.read_bytes() for file in files]
        again = self("run", "--max-new-tokens=2", *args).check((first.status,))
        if [file.read_bytes() for file in files] != made:
            raise Broken(f"{again.args} made other records the second time")
        return [record for file in files for record in _records(RunFolder(file.parent))]

    def unchanged(self, before: dict[str, bytes], call: Outcome) -> None:
        """A refused call leaves everything as it was."""
        after = self.files()
        other = sorted(
            name for name in before | after if before.get(name) != after.get(name)
        )
        if other:
            raise Broken(f"{call.args} was refused ({call.err}) and changed {other}")


def _records(run: RunFolder) -> Iterator[Record]:
    """A run's records: as many as were asked, each once, whole and sealed."""
    lines = list(run.lines())
    bad = [line for line in lines if line.fault or '"crc":' not in line.text]
    ids = Counter(line.record.id for line in lines if line.record)
    asked = run.meta()["asked"]
    if bad or len(lines) != asked or len(ids) != asked:
        raise Broken(f"{run.folder}: {asked} asked, {ids}, bad {bad}")
    return (line.record for line in lines if line.record)


def _stream(errors: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), "utf-8", errors, write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    return stream.buffer.getvalue().decode()  # type: ignore[attr-defined]


def _status(main: Callable[[], None]) -> int:
    """How a process that does this ends."""
    try:
        main()
    except SystemExit as ended:
        code = ended.code
        return code if isinstance(code, int) else int(code is not None)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        at = f"{Path(where.filename).name}:{where.lineno}"
        raise Broken(f"{sys.argv[1:]}: traceback of {error!r} at {at}") from error
    return 0


@dataclass
class Tally:
    """What was tried of a promise.

    Attributes:
        examples: inputs.
        statuses: how the calls ended, and how many did.
        failures: inputs that broke it, as small as hypothesis made them.
    """

    examples: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def count(self, status: int) -> None:
        """Count a call."""
        self.statuses[status] += 1


@contextmanager
def place(tally: Tally) -> Iterator[Place]:
    """A place of one's own, in which the process is as long as the body runs."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="vicrop-fuzz-") as folder:
        root = Path(folder).resolve()
        where = {"VICROP_DATA": str(root), "VICROP_RESULTS": str(root / "results")}
        with mock.patch.dict(os.environ, where | {"HF_HUB_OFFLINE": "1"}):
            os.chdir(root)
            try:
                yield Place(root, tally)
            finally:
                os.chdir(before)


def every_sample_has_a_record(records: list[Record], ids: set[str]) -> None:
    """All that were asked are there; each is an answer or an error."""
    if {record.id for record in records} != ids:
        raise Broken(f"asked {ids}, recorded {records}")
    for record in records:
        if (record.answer is None) == (record.error is None):
            raise Broken(f"neither an answer nor an error, or both: {record}")


def pictures(here: Place, text: bytes) -> None:
    """Any bytes where a picture should be: it is answered, or says what it is."""
    (here.data / "images/1.png").write_bytes(text)
    records = here.ask("--dataset=data")
    every_sample_has_a_record(records, {"0", "1"})
    if records[0].error:
        raise Broken(f"the other picture failed: {records[0].error}")
    one = here("answer", "data/images/1.png", "what?").check((0, 2))
    if (one.status == 0) != (records[1].error is None):
        raise Broken(f"answer ends with {one.status}, run says {records[1].error}")


def data(here: Place, text: bytes) -> None:
    """Any bytes where the rows should be: they are asked as they are, or refused."""
    here.write(text)
    records = here.ask("--dataset=data", "--method=random-crop")
    if records and {"0"} - {record.id for record in records}:
        raise Broken(f"the first row is not recorded: {records}")
    for run in (here.root / "results/runs").glob("*"):
        here("score", run).check((0, 2))
        here("verify", run).check((0, 1), run.name)


def questions(here: Place, text: str) -> None:
    """Any text is a question, a label and an answer that is scored."""
    rows = [brought.row(0), brought.row(1) | {"question": text, "labels": [text]}]
    here.write(json.dumps(rows).encode())
    records = here.ask("--dataset=data", "--method=no-crop")
    if records:
        every_sample_has_a_record(records, {"0", "1"})
    if "\0" not in text:
        here("answer", "data/images/0.png", "--save-figure=a.png", "--", text).check(
            (0, 2)
        )


def options(here: Place, given: list[str]) -> None:
    """Any options: a run, or one line that says what is wrong, and nothing done."""
    base = (
        [] if any(one.startswith("--dataset") for one in given) else ["--dataset=data"]
    )
    here.ask(*base, *given)
    here("status").check((0,))


def names(here: Place, drawn: tuple[str, str]) -> None:
    """A data set may be called anything: one run, however it is spelled."""
    name, other = drawn
    here.data.rename(here.root / name)
    spelled = [name, f"./{name}", f"{name}/", here.root / name]
    found = [
        here("run", "--max-new-tokens=2", "--method=no-crop", f"--dataset={one}")
        for one in spelled
        if one != "plates"
    ]
    told = {one.check((0,)).out for one in found}
    if len(told) != 1:
        raise Broken(f"{name!r} makes several runs: {told}")
    for verb in ("score", "verify", "answer"):
        before = here.files()
        refused = here(verb, "--", other, *(["what?"] if verb == "answer" else ()))
        called = printable(Path(other).absolute().name)
        here.unchanged(before, refused.check((1, 2), called))


def spoilt_runs(here: Place, data: st.DataObject) -> None:
    """Files of a run that a disk spoilt: said, and mended by the same command."""
    here.ask("--dataset=data", "--save-maps")
    (run,) = (here.root / "results/runs").glob("*")
    whole = {line.text for line in RunFolder(run).lines()}
    name = data.draw(st.sampled_from(FILES))
    text = (run / name).read_bytes() if (run / name).exists() else b""
    changed = brought.json_changes(text) if name == "meta.json" else st.nothing()
    spoilt = brought.spoilt(st.just(text)) if name.endswith("jsonl") else st.nothing()
    other = brought.ANYTHING.map(lambda value: json.dumps(value).encode())
    (run / name).write_bytes(data.draw(changed | spoilt | other | brought.OTHERS))
    kept = whole & {line.text for line in RunFolder(run).lines()}
    for verb in (("status",), ("verify", run), ("score", run, "--out=scores")):
        before = here.files()
        found = here(*verb).check(about=run.name)
        here.unchanged(before, found) if found.status == 2 else None
    if here.ask("--dataset=data", "--save-maps"):
        now = {line.text for line in RunFolder(run).lines()}
        if now != whole or not kept <= now:
            raise Broken(f"records are not what they were: {now ^ whole}")


def checkpoints(here: Place, drawn: tuple[str, bytes]) -> None:
    """A model's folder with a spoilt file: it is loaded, or refused in one line."""
    folder = shutil.copytree(CHECKPOINT, here.root / "model", copy_function=os.link)
    _overwrite(folder, *drawn)
    given = ("--model=./model", "--family=llava", "--method=no-crop")
    here("answer", *given, "data/images/0.png", "what?").check((0, 2))


def originals(here: Place, drawn: tuple[Path, tuple[str, bytes]]) -> None:
    """An original download with a spoilt file: made whole, or refused and not there."""
    fixture, spoilt = drawn
    key = fixture.name.partition("--")[0]
    folder = shutil.copytree(fixture, here.root / "originals")
    _overwrite(folder, *spoilt)
    before = here.files()
    made = here("prep", key, "--source", folder).check((0, 2))
    if made.status == 2:
        return here.unchanged(before, made)
    before = here.files()
    here("prep", key, "--source", folder).check((0,))
    here.unchanged(before, made)
    here.ask(f"--dataset={key}", "--method=no-crop")
    return None


def _overwrite(folder: Path, name: str, text: bytes) -> None:
    """Put other bytes in a file's place; what it was a link to stays."""
    (folder / name).unlink()
    (folder / name).write_bytes(text)


@st.composite
def spoilt_originals(draw: st.DrawFn) -> tuple[Path, tuple[str, bytes]]:
    """A miniature download, a file of it, and what stands there instead."""
    folder = draw(st.sampled_from(sorted(FIXTURES.glob("[a-z]*[a-z0-9]/"))))
    return folder, draw(brought.spoilt_files(folder))


FILES = ("records.jsonl", "meta.json", "maps.jsonl", ".owner.json", ".lock")
"""Of a run's folder."""

PROMISES: dict[str, tuple[Callable, st.SearchStrategy]] = {
    "pictures": (pictures, brought.PICTURES),
    "data.json": (data, brought.data_files()),
    "questions": (questions, brought.QUESTIONS),
    "options": (options, brought.options()),
    "names": (names, st.tuples(brought.NAMES, brought.WORDS)),
    "checkpoints": (checkpoints, brought.spoilt_files(CHECKPOINT)),
    "originals": (originals, spoilt_originals()),
    "spoilt runs": (spoilt_runs, st.data()),
}
"""What is tried, and with what."""


def tried(name: str, examples: int, tally: Tally | None = None, **how: Any) -> Tally:
    """Try a promise with so many inputs.

    Args:
        name: key of ``PROMISES``.
        examples: at most so many.
        tally: counts them.
        how: other settings of hypothesis.

    Raises:
        Broken: with the smallest input that breaks it, as hypothesis tells it.
    """
    keep, inputs = PROMISES[name]
    tally = Tally() if tally is None else tally

    def holds(drawn: object) -> None:
        tally.examples += 1
        with place(tally) as here:
            keep(here, drawn)

    holds.__qualname__ = f"holds_{name}"  # the seed of what is the same every time
    usual = {"deadline": None, "database": None, "suppress_health_check": HealthCheck}
    settings(**usual, max_examples=examples, **how)(given(inputs)(holds))()
    return tally
