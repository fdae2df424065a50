"""The fixtures: folders by data set, and after ``--`` how they differ."""

from pathlib import Path

import pytest

from data_prep.originals.search import Originals

FOLDER = Path(__file__).parent.parent / "fixtures"
FIXTURES = sorted(
    path
    for path in FOLDER.iterdir()
    if path.is_dir() and path.name != "makers" and path.name[0] not in "_."
)


def key_of(fixture: Path) -> str:
    """The data set's key."""
    return fixture.name.partition("--")[0]


def refused(dataset, folder, match, error=ValueError):
    """The originals are refused with one line that matches."""
    with pytest.raises(error, match=match) as raised:
        dataset.items(Originals([folder]))
    assert "\n" not in str(raised.value)
