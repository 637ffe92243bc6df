import numpy as np
import pytest
from PIL import Image

import models
from data.errors import UserError
from data.maps import Maps
from tests.conftest import command, one_line


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(rng.integers(0, 255, (90, 120, 3), np.uint8)).save(folder / "wide.png")
    Image.fromarray(rng.integers(0, 255, (101, 67, 3), np.uint8)).save(folder / "tall.jpg")
    return folder


@pytest.mark.parametrize("net", models.NETS)
def test_a_folder_becomes_maps_of_the_same_sizes(net, pictures, tmp_path, request):
    weights = request.getfixturevalue(f"{net}_weights")
    (pictures / "broken.jpg").write_bytes(b"not an image")
    process = command("models.predict", "--net", net, "--weights", weights, "--images", pictures, "--out", tmp_path / "out")
    assert process.returncode == 1 and "left out:" in process.stderr and "broken.jpg" in process.stderr
    assert "Traceback" not in process.stderr
    maps = Maps(tmp_path / "out/predictions.h5")
    assert maps.names == {"wide", "tall"} and maps.model == net
    for name, shape in (("wide", (90, 120)), ("tall", (101, 67))):
        assert maps[name].shape == shape and maps[name].dtype == np.float32
        assert np.isfinite(maps[name]).all() and maps[name].min() >= 0 and maps[name].max() <= 1
        grey = np.asarray(Image.open(tmp_path / f"out/{name}.png"))
        np.testing.assert_array_equal(grey, (maps[name] * 255).round().astype(np.uint8))
    (pictures / "broken.jpg").unlink()
    assert command("models.predict", "--net", net, "--weights", weights, "--images", pictures / "wide.png",
                   "--out", tmp_path / "one").returncode == 0


@pytest.mark.parametrize("net", models.NETS)
def test_both_predictors_keep_the_contract(net, request):
    predictor = models.load(net, request.getfixturevalue(f"{net}_weights"))
    rng = np.random.default_rng(1)
    for shape in ((1, 1, 3), (7, 300, 3), (333, 213, 3)):
        image = rng.integers(0, 255, shape, np.uint8)
        saliency = predictor.predict(image)
        assert saliency.shape == shape[:2] and saliency.dtype == np.float32
        assert np.isfinite(saliency).all() and 0 <= saliency.min() <= saliency.max() <= 1
        np.testing.assert_array_equal(saliency, predictor.predict(image))


def test_options_reach_the_predictor(pictures, tmp_path, deep_weights):
    def run(*options):
        process = command("models.predict", "--net", "deep", "--weights", deep_weights, "--images", pictures / "wide.png",
                          "--out", tmp_path / "out", *(word for option in options for word in ("--option", option)))
        return process, (Maps(tmp_path / "out/predictions.h5")["wide"] if process.returncode == 0 else None)
    _, plain = run()
    _, small = run("longest_side=40", "scaling=consistent")
    assert np.abs(plain - small).max() > 0.01
    assert "the deep net has no option 'smoothing'; choose from: engine, longest_side" in one_line(run("smoothing=paper")[0])
    assert "scaling 'none' is not known" in one_line(run("scaling=none")[0])
    assert "longest_side must be" in one_line(run("longest_side=x")[0])
    assert "'smoothing' is not NAME=VALUE" in one_line(run("smoothing")[0])


def test_errors_name_file_and_remedy(pictures, tmp_path, deep_weights):
    def run(*arguments):
        return one_line(command("models.predict", *arguments, "--out", tmp_path / "out"))
    assert "gone.caffemodel: No such file" in run("--net", "deep", "--weights", tmp_path / "gone.caffemodel",
                                                  "--images", pictures)
    assert "no such file or folder" in run("--net", "deep", "--weights", deep_weights, "--images", tmp_path / "gone")
    assert "damaged, or not an .npz" in run("--net", "shallow", "--weights", deep_weights, "--images", pictures)
    for picture in pictures.iterdir():
        picture.write_bytes(b"no")
    assert "not one of the images could be read" in run("--net", "deep", "--weights", deep_weights, "--images", pictures)
    assert not (tmp_path / "out/predictions.h5").exists()


def test_pictures_are_never_overwritten(pictures, deep_weights):
    before = {path: path.read_bytes() for path in pictures.iterdir()}
    line = one_line(command("models.predict", "--net", "deep", "--weights", deep_weights, "--images", pictures,
                            "--out", pictures))
    assert "maps would overwrite them" in line
    assert {path: path.read_bytes() for path in pictures.iterdir()} == before


def test_names_stay_unique():
    from pathlib import Path

    from models.predict import _unique_names
    assert _unique_names([Path("x/a.jpg"), Path("x/b.png")]) == ["a", "b"]
    assert _unique_names([Path("a.jpg"), Path("a.jpg.png"), Path("a.png")]) == ["a.jpg", "a.jpg.png", "a.png"]


def test_options_are_checked(deep_weights):
    with pytest.raises(UserError, match="no option 'scalling'; choose from: engine, longest_side, mean_bgr"):
        models.load("deep", deep_weights, scalling="consistent")
    with pytest.raises(UserError, match="released, consistent"):
        models.load("deep", deep_weights, scaling="mine")


def test_unknown_net():
    with pytest.raises(UserError, match="shallow, deep"):
        models.load("medium", "weights")
