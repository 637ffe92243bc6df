"""Both nets and the classical models on one's own images, side by side."""
import os

import numpy as np
import pytest
from PIL import Image

from common.drawing import GAP, HEADER
from common.errors import UserError
from models.compare import CELL_WIDTH, PER_ROW, draw_sheet, find_weights, open_models
from tests.conftest import REPOSITORY, command, one_line


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "my photo.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)).save(path)
    return path


def test_the_sheet_has_a_column_per_model(photo, tmp_path, shallow_weights, deep_weights):
    Image.new("RGB", (1, 1), (200, 10, 10)).save(tmp_path / "pixel.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    process = command("models.compare", "--images", photo, tmp_path / "pixel.png", tmp_path / "broken.png",
                      "--weights", shallow_weights, deep_weights, "--out", tmp_path / "out")
    assert process.returncode == 1 and "Traceback" not in process.stderr and "left out:" in process.stderr and "broken.png" in process.stderr
    assert process.stdout.splitlines() == [f"shallow net: {shallow_weights}", f"deep net: {deep_weights}",
                                           *(f"{tmp_path}/out/{name}_models.png" for name in ("my photo", "pixel"))]
    for name, height in (("my photo", round(CELL_WIDTH * 60 / 90)), ("pixel", CELL_WIDTH)):
        sheet = np.asarray(Image.open(tmp_path / f"out/{name}_models.png"))
        assert sheet.shape == (2 * (HEADER + height + GAP), PER_ROW * (CELL_WIDTH + GAP) - GAP, 3)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"my photo_models.png", "pixel_models.png"}


def test_cells_are_in_the_order_of_the_titles():
    image = np.full((30, 40, 3), 255, np.uint8)
    high = np.zeros((30, 40), np.float32)
    high[10:20, 10:20] = 1
    sheet = draw_sheet(image, {"first": lambda _: high, "second": lambda _: 1 - high, "third": lambda _: high})
    middle = sheet[HEADER + CELL_WIDTH * 15 // 40]
    red = [int(middle[column * (CELL_WIDTH + GAP) + CELL_WIDTH * 15 // 40, 0]) for column in range(PER_ROW)]
    assert red[0] == 255 and red[1] > red[2], "image, a map that is high in the middle, one that is low"
    height = CELL_WIDTH * 30 // 40
    assert sheet.shape[0] == 2 * (HEADER + height + GAP) and (sheet[HEADER + height + GAP:, CELL_WIDTH + GAP:] == 255).all()


def test_fetched_weights_come_first_then_the_newest_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert find_weights("deep") is None is find_weights("shallow")
    assert list(open_models([])) == ["BMS", "GBVS", "Itti"]
    assert "shallow net left out: no weights in build/models and build/runs; make train-shallow" in capsys.readouterr().err
    for name in ("a", "b", "c"):
        for file in ("weights.npz", "weights.caffemodel"):
            path = tmp_path / "build/runs" / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            os.utime(path, (100 - 10 * (name == "b"), 100 + 10 * (name == "b")))
    assert str(find_weights("shallow")) == "build/runs/b/weights.npz" and str(find_weights("deep")) == "build/runs/b/weights.caffemodel"
    for path in ("build/models/salnet-released/deep_net_model.caffemodel", "build/models/juntingnet-salicon/weights.npz"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch()
    assert str(find_weights("deep")).endswith("deep_net_model.caffemodel") and "juntingnet" in str(find_weights("shallow"))
    with pytest.raises(UserError, match="must end in .npz"):
        open_models(["weights.pickle"])
    with pytest.raises(UserError, match="b.npz: is a second file for the shallow net, after a.npz; give one"):
        open_models(["a.npz", "b.npz"])


def test_mistakes_are_one_line(photo, tmp_path):
    def run(*arguments):
        return one_line(command("models.compare", *arguments, "--out", tmp_path / "out"))
    assert "gone.jpg: no such file or folder" in run("--images", tmp_path / "gone.jpg")
    (tmp_path / "film.mp4").write_bytes(b"")
    assert "film.mp4: is a video; python -m models.predict" in run("--images", tmp_path / "film.mp4")
    assert "gone.npz: No such file" in run("--images", photo, "--weights", tmp_path / "gone.npz")
    assert "contains the images" in one_line(command("models.compare", "--images", photo, "--out", tmp_path))
    assert "which images?" in run("--images", "")


def test_make_try_gives_the_image_and_the_weights(tmp_path):
    import subprocess

    shown = subprocess.run(["make", "-n", "try", "IMAGE=my photo.jpg", "WEIGHTS=a.npz b.caffemodel"], cwd=REPOSITORY,
                           text=True, capture_output=True, check=True).stdout
    assert 'models.compare --images "$IMAGE" --weights a.npz b.caffemodel --out "build/try"' in shown
