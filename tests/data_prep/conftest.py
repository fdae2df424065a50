"""What tests of ``vicrop prep`` share."""

import pytest

from tests.data_prep.handmade import write_originals


@pytest.fixture
def originals(tmp_path):
    return write_originals(tmp_path / "originals", boxes={34602: [10.0, 8.0, 20.0, 4]})


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data"
