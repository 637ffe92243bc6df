import pytest

from shallow.prepare import prepare


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Training data of the shallow net from 40 synthetic images: 32 for training, 8 for validation."""
    out = tmp_path_factory.mktemp("prepared") / "synthetic-shallow"
    prepare("synthetic", None, out, limit=40, jobs=2)
    return out
