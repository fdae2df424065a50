"""How a reader runs a page again: its source, the command, and links to run it online.

The repository's address is one setting: ``repository-code`` of ``CITATION.cff``; where
it is not set, this tree's origin, if that is on GitHub: a fork's pages lead to it. Else
there are no links, which would lead nowhere.
"""

import json
import re
import shlex
import subprocess
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import yaml

from vicrop import paths

BRANCH = "main"
GITHUB = "github.com"


CITATION = "CITATION.cff"
"""The one place where a fork says its own: ``repository-code`` and ``doi``."""


def cited(key: str) -> Any:
    """What it says; None where it says nothing."""
    text = (paths.ROOT / CITATION).read_text(encoding="utf-8")
    return yaml.safe_load(text).get(key)


def slots() -> dict[str, str]:
    """Where the book can be cited and its errors reported; empty where not yet said."""
    doi, address = cited("doi"), repository()
    return {
        "DOI": f"https://doi.org/{doi}" if doi else "",
        "report an error": f"{address}/issues" if address else "",
        "source": address,
    }


def repository() -> str:
    """The address of the public repository; empty where none is known.

    Raises:
        ValueError: if it is not the address of a repository.
    """
    address = cited("repository-code")
    if address is None:
        return origin()
    if not re.fullmatch(r"https://[\w.-]+(/[\w.~-]+)+/?", str(address)):
        raise ValueError(
            f"repository-code in {CITATION} is {address!r}, not the address of a "
            "repository, such as https://github.com/OWNER/NAME"
        )
    return str(address).rstrip("/").removesuffix(".git")


def origin() -> str:
    """Where this tree was cloned from, if from GitHub, without anybody's password."""
    if not (paths.ROOT / ".git").exists():  # git would take a folder above for ours
        return ""
    told = git("config", "--get", "remote.origin.url")
    ways = rf"(?:(?:https|ssh)://(?:[^@/]*@)?{GITHUB}/|git@{GITHUB}:)"
    found = re.fullmatch(rf"{ways}([\w.-]+/[\w.-]+?)(?:\.git)?/?", told)
    return f"https://{GITHUB}/{found[1]}" if found else ""


def git(*words: str) -> str:
    """What git says of this tree; empty where it is not installed, or says no."""
    command = ["git", "-C", str(paths.ROOT), *words]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # no git
        return ""
    return told.stdout.strip()


def path_of(source: str) -> str:
    """Where a notebook's source is in the repository."""
    return f"notebooks/{source}.ipynb"


def command(source: str, parameters: Mapping[str, Any]) -> str:
    """The shell's command that executes a notebook with these parameters."""
    words = ["papermill", path_of(source), "out.ipynb", "-k", "python3"]
    for name, value in parameters.items():
        words += _option(name, value)
    return shlex.join(words)


def _option(name: str, value: Any) -> list[str]:
    """A parameter as papermill's options tell it.

    ``-p`` guesses the type, ``-r`` is text as it stands, ``-y`` is YAML, so JSON too.
    """
    if isinstance(value, str) and value.isprintable():
        return ["-p" if _is_word(value) else "-r", name, value]
    if value is None or isinstance(value, bool | int | float):
        return ["-p", name, str(value)]
    return ["-y", json.dumps({name: value})]


def _is_word(text: str) -> bool:
    """Whether papermill cannot take a text for anything else."""
    other = {"true", "false", "none", "nan", "inf", "infinity"}
    return bool(re.fullmatch(r"[A-Za-z][\w.-]*", text)) and text.lower() not in other


def links(source: str, address: str) -> dict[str, str]:
    """Where a notebook's source can be seen and run, by the name of the place.

    Args:
        source: name of the notebook.
        address: of the repository; empty for no links.
    """
    if not address:
        return {}
    path, parts = quote(path_of(source)), urlsplit(address)
    lab = f"?urlpath={quote(f'lab/tree/{path}', safe='')}"
    if parts.netloc != GITHUB:
        where = f"https://mybinder.org/v2/git/{quote(address, safe='')}/{BRANCH}{lab}"
        return {"Binder": where}
    name = parts.path.strip("/")
    blob = f"{name}/blob/{BRANCH}/{path}"
    return {
        "source": f"https://{GITHUB}/{blob}",
        "Binder": f"https://mybinder.org/v2/gh/{name}/{BRANCH}{lab}",
        "Colab": f"https://colab.research.google.com/github/{blob}",
    }


def line(source: str, parameters: Mapping[str, Any]) -> str:
    """What a page says, as Markdown in which no parameter is markup."""
    address = repository()
    found = links(source, address)
    path = code(path_of(source))
    first = f"[{path}]({found.pop('source')})" if "source" in found else path
    online = [f"[{place}]({link})" for place, link in found.items()]
    if "Colab" in found:
        online[-1] += f" (there first {code(f'%pip install git+{address}')})"
    said = [f"source {first}", code(command(source, parameters)), *online]
    return f"**Run this page yourself:** {' · '.join(said)}"


def code(text: str) -> str:
    """A text of one line as a code span, whatever is in it."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence, pad = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{pad}{text}{pad}{fence}"
