"""Run the example data set of data/README.md."""
import re
import sys

import numpy as np
import pytest
from PIL import Image

from common.errors import UserError
from common.files import read_json
from data import load
from data.dataset import LOADERS
from shallow.prepare import prepare
from tests.conftest import REPOSITORY


@pytest.fixture
def toy(tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (REPOSITORY / "data/README.md").read_text(), re.DOTALL)
    code = next(block for block in blocks if "def load(" in block)
    assert len(code.splitlines()) < 40
    (tmp_path / "toy_of_the_readme.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(LOADERS, "toy", "toy_of_the_readme:load")
    yield tmp_path / "toys"
    sys.modules.pop("toy_of_the_readme", None)


def test_the_example_works(toy, tmp_path):
    rng = np.random.default_rng(0)
    (toy / "images").mkdir(parents=True)
    lines = ["image,x,y"]
    for index in range(15):
        Image.fromarray(rng.integers(0, 255, (60, 80, 3), np.uint8)).save(toy / "images" / f"p{index:02d}.png")
        lines.append(f"p{index:02d},{index + 10},20")
    (toy / "gaze.csv").write_text("\n".join(lines))
    assert len(load("toy", "train", toy)) == 12 and len(load("toy", "test", toy)) == 3
    sample = load("toy", "all", toy.parent)[4]
    assert sample.fixations.tolist() == [[14, 20]] and np.unravel_index(sample.density.argmax(), (60, 80)) == (20, 14)
    prepare("toy", toy, tmp_path / "out")
    assert read_json(tmp_path / "out/manifest.json")["images"] == 12
    with pytest.raises(UserError, match="not toy; give the folder that holds gaze.csv"):
        load("toy", "train", tmp_path / "out")
