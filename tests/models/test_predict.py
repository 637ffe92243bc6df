"""Predict from the command line: images, videos, data sets, and the formats of challenges."""
import base64
import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import models
from common.errors import UserError
from common.predictor import Predictor
from data.maps import open_maps
from models import exports
from models.predict import find_sources, predict_all, split_patterns, unique_names
from tests.conftest import REPOSITORY, command, one_line
from tests.fixtures import lsun, mit, salicon


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(rng.integers(0, 255, (90, 120, 3), np.uint8)).save(folder / "wide.png")
    Image.fromarray(rng.integers(0, 255, (101, 67, 3), np.uint8)).save(folder / "tall.jpg")
    return folder


@pytest.mark.parametrize("net", models.NETS)
def test_maps_have_the_sizes_of_the_images(net, images, tmp_path, request):
    weights = request.getfixturevalue(f"{net}_weights")
    (images / "broken.jpg").write_bytes(b"not an image")
    (images / "phone.heic").write_bytes(b"not read")
    process = command("models.predict", "--net", net, "--weights", weights, "--images", images, "--out", tmp_path / "out")
    assert process.returncode == 1 and "left out:" in process.stderr and "broken.jpg" in process.stderr
    assert "Traceback" not in process.stderr and "1 files are passed over, the first is phone.heic" in process.stderr
    maps = open_maps(tmp_path / "out/predictions.h5")
    assert maps.names == {"wide", "tall"} and maps.model == net
    for name, shape in (("wide", (90, 120)), ("tall", (101, 67))):
        assert maps[name].shape == shape and maps[name].dtype == np.float32
        assert np.isfinite(maps[name]).all() and maps[name].min() >= 0 and maps[name].max() <= 1
        grey = np.asarray(Image.open(tmp_path / f"out/{name}.png"))
        np.testing.assert_array_equal(grey, (maps[name] * 255).round().astype(np.uint8))
    (images / "broken.jpg").unlink()
    assert command("models.predict", "--net", net, "--weights", weights, "--images", images / "wide.png",
                   "--out", tmp_path / "single").returncode == 0


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


def test_options_reach_the_predictor(images, tmp_path, deep_weights):
    def run(*options):
        process = command("models.predict", "--net", "deep", "--weights", deep_weights, "--images", images / "wide.png",
                          "--out", tmp_path / "out", *(word for option in options for word in ("--option", option)))
        return process, (open_maps(tmp_path / "out/predictions.h5")["wide"] if process.returncode == 0 else None)
    _, plain = run()
    _, small = run("longest_side=40", "scaling=consistent")
    assert np.abs(plain - small).max() > 0.01
    assert "the deep net has no option 'smoothing'; choose from: engine, longest_side" in one_line(run("smoothing=paper")[0])
    assert "scaling 'none' is not known" in one_line(run("scaling=none")[0])
    assert "longest_side must be" in one_line(run("longest_side=x")[0])
    assert "'smoothing' is not NAME=VALUE" in one_line(run("smoothing")[0])


def test_errors_name_file_and_remedy(images, tmp_path, deep_weights):
    def run(*arguments):
        return one_line(command("models.predict", *arguments, "--out", tmp_path / "out"))
    for net, name in (("deep", "gone.caffemodel"), ("shallow", "gone.npz")):
        line = run("--net", net, "--weights", tmp_path / name, "--images", images)
        assert f"{name}: no such file; make train-{net} makes it, or give WEIGHTS=file" in line
    for empty in ("", "  "):
        line = run("--net", "deep", "--weights", deep_weights, "--images", empty)
        assert "which images? make predict IMAGES=file-or-folder" in line
    assert "give either --images or --dataset" in run("--net", "deep", "--weights", deep_weights)
    assert "no such file or folder" in run("--net", "deep", "--weights", deep_weights, "--images", tmp_path / "gone")
    assert "cannot be read as an .npz" in run("--net", "shallow", "--weights", deep_weights, "--images", images)
    for image in images.iterdir():
        image.write_bytes(b"no")
    assert "none of the images could be read" in run("--net", "deep", "--weights", deep_weights, "--images", images)
    assert not (tmp_path / "out/predictions.h5").exists()


def test_images_are_never_overwritten(images, deep_weights):
    before = {path: path.read_bytes() for path in images.iterdir()}
    line = one_line(command("models.predict", "--net", "deep", "--weights", deep_weights, "--images", images,
                            "--out", images))
    assert "maps would overwrite them" in line
    assert {path: path.read_bytes() for path in images.iterdir()} == before


def test_names_stay_unique():
    assert unique_names([Path("x/a.jpg"), Path("x/b.png")]) == ["a", "b"]
    assert unique_names([Path("a.jpg"), Path("a.jpg.png"), Path("a.png")]) == ["a.jpg", "a.jpg.png", "a.png"]


def test_unknown_options_are_errors(deep_weights):
    with pytest.raises(UserError, match="no option 'scalling'; choose from: engine, longest_side, mean_bgr"):
        models.load("deep", deep_weights, scalling="consistent")
    with pytest.raises(UserError, match="released, consistent"):
        models.load("deep", deep_weights, scaling="mine")


def test_an_unknown_net_is_an_error():
    with pytest.raises(UserError, match="shallow, deep"):
        models.load("medium", "weights")


def test_patterns_files_and_formats(images, tmp_path, deep_weights):
    process = command("models.predict", "--net", "deep", "--weights", deep_weights, "--images", images / "wide.png",
                      f"{images}/t*.jpg", "--formats", "png", "overlay", "npy", "--out", tmp_path / "out")
    assert process.returncode == 0, process.stderr
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"predictions.h5", *(f"{name}{end}" for name in ("wide", "tall") for end in (".png", "_overlay.png", ".npy"))}
    maps = open_maps(tmp_path / "out/predictions.h5")
    np.testing.assert_array_equal(np.load(tmp_path / "out/tall.npy"), maps["tall"])
    assert np.asarray(Image.open(tmp_path / "out/tall_overlay.png")).shape == (101, 67, 3)
    process = command("models.predict", "--net", "deep", "--weights", deep_weights, "--images", images / "gone.jpg",
                      images / "wide.png", "--out", tmp_path / "out3")
    assert process.returncode == 1 and "gone.jpg: No such file" in process.stderr and "1 maps, 1 unreadable" in process.stdout
    line = one_line(command("models.predict", "--net", "deep", "--weights", deep_weights, "--images", f"{images}/*.gif",
                            "--out", tmp_path / "out2"))
    assert "*.gif: no such file or folder" in line


@pytest.mark.parametrize("net", models.NETS)
def test_batches_and_order_change_nothing(net, tmp_path, request):
    """Compare maps of forty images of three sizes, one of them broken, with single predictions."""
    rng, folder = np.random.default_rng(0), tmp_path / "many"
    folder.mkdir()
    for index in range(40):
        shape = [(60, 80), (80, 60), (60, 90)][index % 3]
        Image.fromarray(rng.integers(0, 255, (*shape, 3), np.uint8)).save(folder / f"p{index:02d}.png")
    (folder / "p17.png").write_bytes(b"no")
    weights = request.getfixturevalue(f"{net}_weights")
    process = command("models.predict", "--net", net, "--weights", weights, "--images", folder, "--out", tmp_path / "out")
    assert process.returncode == 1 and "39 maps, 1 unreadable" in process.stdout
    maps, predictor = open_maps(tmp_path / "out/predictions.h5"), models.load(net, weights)
    for index in (0, 1, 2, 16, 18, 31, 32, 39):
        image = np.asarray(Image.open(folder / f"p{index:02d}.png"))
        np.testing.assert_allclose(maps[f"p{index:02d}"], predictor.predict(image), atol=1e-5)


def test_a_video_gets_a_heat_map_over_each_frame(tmp_path, deep_weights):
    import cv2

    writer = cv2.VideoWriter(str(tmp_path / "film.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (80, 60))
    for index in range(6):
        writer.write(np.full((60, 80, 3), 40 * index, np.uint8))
    writer.release()
    process = command("models.predict", "--net", "deep", "--weights", deep_weights, "--images", tmp_path / "film.avi", "--out", tmp_path / "out")
    assert process.returncode == 0 and "film.mp4: 6 frames" in process.stdout, process.stderr
    video = cv2.VideoCapture(str(tmp_path / "out/film.mp4"))
    frames = [video.read() for _ in range(7)]
    assert [decoded for decoded, _ in frames] == [True] * 6 + [False] and frames[0][1].shape == (60, 80, 3)
    (tmp_path / "cut.mp4").write_bytes(b"no video")
    line = one_line(command("models.predict", "--net", "deep", "--weights", deep_weights, "--images", tmp_path / "cut.mp4", "--out", tmp_path / "o"))
    assert "cut.mp4: no frame can be decoded" in line and not (tmp_path / "o/cut.mp4").exists()


def run_on(kind, root, weights, out, *options):
    return command("models.predict", "--net", "deep", "--weights", weights, "--dataset", kind, "--data-root", root, "--model", "net",
                   "--option", "longest_side=64", "--out", out, *options)


def test_the_mit300_format(tmp_path, deep_weights):
    mit.write_mit300(tmp_path / "mit300")
    process = run_on("mit300", tmp_path, deep_weights, tmp_path / "out", "--formats", "mit300")
    assert process.returncode == 0 and "net.zip: 3 maps, checked" in process.stdout, process.stderr
    shapes = {f"i{index}": (200 + 40 * index, 320) for index in (1, 2, 3)}
    exports.check_export("mit300", tmp_path / "out/net.zip", shapes)
    maps = open_maps(tmp_path / "out/predictions.h5")
    with zipfile.ZipFile(tmp_path / "out/net.zip") as archive:
        assert sorted(archive.namelist()) == ["net/i1.jpg", "net/i2.jpg", "net/i3.jpg"]
        grey = np.asarray(Image.open(io.BytesIO(archive.read("net/i2.jpg")))) / 255
        assert np.abs(grey - maps["i2"]).max() < 0.1
    for wrong, complaint in (({**shapes, "i4": (9, 9)}, "1 images have no map .for example i4"), ({"i1": shapes["i1"]}, "2 maps have no image"),
                             ({**shapes, "i3": (9, 9)}, r"i3: the map has shape \(320, 320\)")):
        with pytest.raises(UserError, match=complaint):
            exports.check_export("mit300", tmp_path / "out/net.zip", wrong)
    (tmp_path / "net.zip").write_bytes(b"PK")
    with pytest.raises(UserError, match="not an archive of JPEGs"):
        exports.check_export("mit300", tmp_path / "net.zip", shapes)


def test_the_salicon_format(tmp_path, deep_weights):
    salicon.write_json(tmp_path / "salicon")
    process = run_on("salicon", tmp_path, deep_weights, tmp_path / "out", "--split", "test", "--formats", "salicon")
    assert process.returncode == 0, process.stderr
    path, shapes = tmp_path / "out/fixations_test2014_net_results.json", {f"COCO_test2014_{n:012d}": (480, 640) for n in (7, 17)}
    exports.check_export("salicon", path, shapes)
    entries = json.loads(path.read_text())
    maps = open_maps(tmp_path / "out/predictions.h5")
    for entry in entries:
        grey = np.asarray(Image.open(io.BytesIO(base64.b64decode(entry["saliency_map"]))))
        np.testing.assert_array_equal(grey, exports.to_grey(maps[f"COCO_test2014_{entry['image_id']:012d}"]))
    path.write_text(json.dumps([*entries, entries[0]]))
    with pytest.raises(UserError, match="contains an image twice"):
        exports.check_export("salicon", path, shapes)
    path.write_text(json.dumps(entries)[:-40])
    with pytest.raises(UserError, match="not the SALICON server's JSON"):
        exports.check_export("salicon", path, shapes)
    line = one_line(run_on("salicon", tmp_path, deep_weights, tmp_path / "o", "--split", "train", "--formats", "salicon"))
    assert "the SALICON server scores val and test, not 'train'" in line and not (tmp_path / "o").exists()


def test_the_lsun_format(tmp_path, deep_weights):
    import scipy.io

    lsun.write(tmp_path / "isun", "isun")
    process = run_on("isun", tmp_path, deep_weights, tmp_path / "out", "--split", "test", "--formats", "lsun")
    assert process.returncode == 0, process.stderr
    maps = open_maps(tmp_path / "out/predictions.h5")
    shapes = {f"sun_test_{index:04d}": (120 + 10 * index, 160) for index in range(3)}
    exports.check_export("lsun", tmp_path / "out/lsun", shapes)
    np.testing.assert_array_equal(scipy.io.loadmat(tmp_path / "out/lsun/sun_test_0001.mat")["I"], maps["sun_test_0001"])
    scipy.io.savemat(tmp_path / "out/lsun/sun_test_0001.mat", {"I": 2 * np.ones((130, 160))})
    with pytest.raises(UserError, match="values outside 0 to 1"):
        exports.check_export("lsun", tmp_path / "out/lsun", shapes)
    (tmp_path / "out/lsun/sun_test_0000.mat").unlink()
    with pytest.raises(UserError, match="sun_test_0000.mat: missing"):
        exports.check_export("lsun", tmp_path / "out/lsun", shapes)


def test_an_export_that_fails_leaves_nothing_half_written(tmp_path):
    path = exports.export_path("mit300", tmp_path, "net")
    with pytest.raises(RuntimeError), exports.open_export("mit300", path, "net") as write:
        write("i1", np.zeros((4, 5)))
        raise RuntimeError("the net fails")
    with pytest.raises(UserError, match="not the name of a COCO image"), exports.open_export("salicon", exports.export_path("salicon", tmp_path, "net", "val"), "net") as write:
        write("cat", np.zeros((4, 5)))
    assert list(tmp_path.iterdir()) == []


def test_the_example_of_the_readme_runs(tmp_path, monkeypatch, deep_weights):
    code = re.findall(r"```python\n(.*?)```", (REPOSITORY / "models/README.md").read_text(), re.DOTALL)[0]
    assert len(code.strip().splitlines()) <= 6
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)).save(tmp_path / "photo.jpg")
    (tmp_path / "weights.caffemodel").symlink_to(deep_weights)
    code = code.replace("build/runs/synthetic-demo-deep/weights.caffemodel", str(tmp_path / "weights.caffemodel"))
    monkeypatch.chdir(tmp_path)
    scope = {}
    exec(code, scope)
    assert scope["saliency"].shape == (50, 70)


def test_maps_of_images_with_the_same_name_do_not_overwrite_each_other(tmp_path, deep_weights):
    rng = np.random.default_rng(0)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for name in ("x.png", "x.jpg", "x_overlay.png"):
            Image.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8)).save(tmp_path / folder / name)
    (tmp_path / "empty").mkdir()
    line = one_line(command("models.predict", "--net", "deep", "--weights", deep_weights, "--images", f"{tmp_path}/emp*", "--out",
                            tmp_path / "nothing"))
    assert "emp*: no image and no video there" in line
    process = command("models.predict", "--net", "deep", "--weights", deep_weights, "--images", tmp_path / "a", tmp_path / "b",
                      tmp_path / "a/x.png", f"{tmp_path}/emp*", "--formats", "png", "overlay", "--out", tmp_path / "out")
    assert process.returncode == 0, process.stderr
    assert len(open_maps(tmp_path / "out/predictions.h5").names) == 6
    assert len(list((tmp_path / "out").glob("*.png"))) == 12


def test_names_of_maps_come_from_files_and_folders(tmp_path):
    files = [tmp_path / "a/x.jpg", tmp_path / "a/x.png", tmp_path / "b/x.png", tmp_path / "c/x_overlay.png", tmp_path / "b/b/x.png"]
    names = unique_names(files)
    assert names[:3] == ["x.jpg", "x.png", "b_x.png"] and len(set(names)) == 5
    assert unique_names([tmp_path / "caf\udce9.jpg"]) == ["caf\ufffd"]


def test_a_bad_video_is_left_out_and_a_short_one_is_reported(tmp_path, images, deep_weights):
    import cv2

    writer = cv2.VideoWriter(str(tmp_path / "film.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (160, 120))
    for index in range(40):
        writer.write(np.random.default_rng(index).integers(0, 255, (120, 160, 3), np.uint8))
    writer.release()
    whole = (tmp_path / "film.avi").read_bytes()
    (tmp_path / "film.avi").write_bytes(whole[:len(whole) // 3])
    (tmp_path / "bad.mp4").write_bytes(b"no")
    process = command("models.predict", "--net", "deep", "--weights", deep_weights, "--option", "longest_side=32", "--images",
                      tmp_path / "bad.mp4", tmp_path / "film.avi", images / "wide.png", "--out", tmp_path / "out")
    assert process.returncode == 1 and "Traceback" not in process.stderr
    assert "bad.mp4: no frame" in process.stderr and "of 40 announced frames can be decoded" in process.stderr
    assert open_maps(tmp_path / "out/predictions.h5").names == {"wide"}


def test_a_challenge_needs_every_map(tmp_path, deep_weights):
    mit.write_mit300(tmp_path / "mit300")
    line = one_line(run_on("mit300", tmp_path, deep_weights, tmp_path / "out", "--formats", "mit300", "--limit", "2"))
    assert "leave --limit out" in line
    line = one_line(run_on("mit300", tmp_path, deep_weights, tmp_path / "out", "--formats", "mit300", "--model", "a/b"))
    assert "cannot be a file name" in line
    folder = tmp_path / "mit300/BenchmarkIMAGES"
    (folder / "i2.jpg").write_bytes(b"no")
    line = one_line(command("models.predict", "--net", "deep", "--weights", deep_weights, "--images", folder, "--model", "net",
                            "--formats", "mit300", "--out", tmp_path / "out"))
    assert "a challenge needs a map of every image, and 1 could not be read" in line
    assert not list((tmp_path / "out").glob("*.zip"))


def test_images_of_another_format_in_an_archive_are_an_error(tmp_path):
    file = io.BytesIO()
    Image.new("RGB", (5, 4)).save(file, "PNG")
    with zipfile.ZipFile(tmp_path / "net.zip", "w") as archive:
        archive.writestr("net/i1.jpg", file.getvalue())
    with pytest.raises(UserError, match="a PNG of mode RGB, not a grey JPEG"):
        exports.check_export("mit300", tmp_path / "net.zip", {"i1": (4, 5)})


def test_an_argument_with_several_patterns_is_split_as_a_shell_does(images, tmp_path):
    (tmp_path / "two words").mkdir()
    spaced = tmp_path / "two words/a b.png"
    (images / "wide.png").rename(spaced)
    assert split_patterns("film.mp4 more/*.png") == ["film.mp4", "more/*.png"]
    assert split_patterns(f"'{spaced}' {images}\n") == [str(spaced), str(images)]
    for whole in (str(spaced), f"{spaced.parent}/*.png", str(spaced.parent), "gone.png"):
        assert split_patterns(whole) == [whole]
    assert split_patterns(" ".join(["long.png"] * 1000)) == ["long.png"] * 1000  # longer than a file name can be
    with pytest.raises(UserError, match="close the quote"):
        split_patterns("'a b.png c.png")
    samples, videos = find_sources([f"{images}/*.jpg '{spaced}'"], tmp_path / "out")
    assert [sample.name for sample in samples] == ["tall", "a b"] and videos == []
    assert [sample.shape for sample in samples] == [(101, 67), (90, 120)] and not samples[0].has_fixations


def test_make_can_pass_its_images_as_one_argument(images, tmp_path, deep_weights):
    process = command("models.predict", "--net", "deep", "--weights", deep_weights, "--images",
                      f"{images / 'wide.png'} {images}/t*.jpg", "--option", "longest_side=32", "--out", tmp_path / "out")
    assert process.returncode == 0, process.stderr
    assert open_maps(tmp_path / "out/predictions.h5").names == {"wide", "tall"}


class GreyPredictor(Predictor):
    """Return the mean of the three channels as the saliency map."""

    def preprocess(self, image):
        return image.transpose(2, 0, 1).astype(np.float32) / 255

    def forward(self, batch):
        return batch.mean(axis=1)

    def postprocess(self, output, shape):
        return output


def test_predicting_leaves_no_image_in_memory(images, tmp_path):
    """A sample keeps its image once it is read; thousands of them would fill the memory."""
    samples, _ = find_sources([str(images)], tmp_path / "out")
    predict_all(GreyPredictor(), samples, tmp_path / "out", "grey", ["overlay"])
    assert len(samples) == 2 and not any("image" in vars(sample) for sample in samples)
