"""Test the deep net's Predictor with images of all sizes."""
import re

import cv2
import numpy as np
import pytest
from PIL import Image

from common.errors import UserError
from common.images import read_image
from deep import preprocess
from deep.predictor import Predictor
from tests.conftest import one_line, python
from tests.deep.conftest import ENGINE_PARAMETERS, INSTALLED, with_old_name


@pytest.fixture(scope="module")
def blue_channel(tmp_path_factory):
    """Save weights with which the output is the blue channel: every layer copies its first channel."""
    from deep.backend import load_caffe
    from deep.prototxt import DEPLOY

    caffe = load_caffe()
    net = caffe.Net(str(DEPLOY), caffe.TEST)
    for name, blobs in net.params.items():
        for blob in blobs:
            blob.data[...] = 0
        if name == "deconv1":
            blobs[0].data[0, 0, 2:6, 2:6] = 1  # one value per 4x4 pixels of the output, without overlap
        else:
            centre = blobs[0].data.shape[2] // 2
            blobs[0].data[0, 0, centre, centre] = 1
    path = tmp_path_factory.mktemp("deep") / "blue-channel.caffemodel"
    net.save(str(path))
    return path


@pytest.mark.parametrize("engine", ENGINE_PARAMETERS)
@pytest.mark.parametrize("height, width", [(4, 4), (5, 9), (6, 10), (7, 11), (213, 30), (50, 75), (64, 47)])
def test_the_last_row_and_column_matter_for_all_sizes(blue_channel, height, width, engine):
    """A blue pixel in a corner gives a maximum in that corner."""
    predictor = Predictor(blue_channel, engine, mean_bgr=(0, 0, 0), resizing="area")
    for row in (0, height - 1):
        for column in (0, width - 1):
            image = np.zeros((height, width, 3), np.uint8)
            image[row, column, 2] = 255
            saliency = predictor.predict(image)
            assert saliency.shape == (height, width)
            brightest = np.unravel_index(saliency.argmax(), saliency.shape)
            # pools enlarge the spot by up to three pixels, and one value covers four pixels
            assert abs(brightest[0] - row) <= 7 and abs(brightest[1] - column) <= 7
            far = np.hypot(*np.meshgrid(np.arange(height) - row, np.arange(width) - column, indexing="ij")) > 16
            assert not far.any() or saliency[far].max() <= saliency.min() + 1e-6
            assert saliency[row, column] > saliency.min() + 0.1 or max(height, width) < 8


@pytest.mark.parametrize("size", [(4, 4), (5, 6), (8, 7), (213, 320)])
def test_padding_to_multiples_of_four_uses_the_mean_pixel(size):
    net_input = np.random.default_rng(0).random((3, *size), np.float32)
    padded = preprocess.pad(net_input)
    assert padded.shape[0] == 3 and all(n % 4 == 0 and (0 <= n - m < 4 or n == 8) for n, m in zip(padded.shape[1:], size))
    np.testing.assert_array_equal(padded[:, :size[0], :size[1]], net_input)
    assert not padded[:, size[0]:].any() and not padded[:, :, size[1]:].any()


@pytest.fixture(scope="module")
def predictors(deep_weights):
    return {engine: Predictor(deep_weights, engine, resizing="area") for engine in INSTALLED}


def output(predictor, image):
    """Return the net's output for an image, without padding: float32 (h, w), about [-1, 1]."""
    width, height = preprocess.fit_size(image.shape[:2], predictor.longest_side)
    return predictor.forward(predictor.preprocess(image)[None])[0, 0, :height, :width]


@pytest.mark.parametrize("height, width", [(240, 320), (480, 640), (320, 213), (75, 50), (31, 33), (4, 9), (1, 1), (1, 700)])
def test_the_engines_agree(predictors, height, width):
    """All engines have the same outputs, also after images of other sizes."""
    noise = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    image = cv2.blur(noise, (3, 3))
    caffe, *others = (output(predictor, image) for predictor in predictors.values())
    for other in others:
        assert np.abs(caffe - other).max() <= 1e-4 * max(1, np.abs(caffe).max())
    assert np.ptp(caffe) > 0 or min(height, width) < 8
    maps = [predictor.predict(image) for predictor in predictors.values()]
    for other in maps[1:]:
        np.testing.assert_allclose(maps[0], other, atol=1e-4)
    assert maps[0].shape == (height, width) and maps[0].dtype == np.float32 and maps[0].max() == pytest.approx(1)


def test_a_prediction_does_not_depend_on_earlier_images(predictors):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*size, 3), np.uint8) for size in [(60, 80), (80, 60), (33, 70)]]
    for predictor in predictors.values():
        first = [predictor.predict(image) for image in images]
        for image, saliency in list(zip(images, first))[::-1]:
            np.testing.assert_array_equal(predictor.predict(image), saliency)


def test_a_photograph_keeps_its_aspect_ratio(predictors, osie_root):
    image = read_image(osie_root / "stimuli/1001.jpg")  # 800x600
    assert [output(predictor, image).shape for predictor in predictors.values()] == [(240, 320)] * len(INSTALLED)
    assert predictors["opencv"].predict(image).shape == (600, 800)


def test_opencv_needs_no_caffe(deep_weights, tmp_path):
    """python -m models.predict works where pycaffe cannot be imported."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)).save(tmp_path / "a.png")
    without_caffe = "import sys; sys.modules['caffe'] = None; from models.predict import main; from common.errors import run; run(main)"

    def predict(*options):
        return python("-c", without_caffe, "--net", "deep", "--weights", deep_weights, "--images", tmp_path / "a.png",
                      "--out", tmp_path / "out", *options)
    line = one_line(predict())
    assert "run `make caffe`" in line and "engine=opencv" in line
    assert predict("--option", "engine=opencv").returncode == 0
    assert np.asarray(Image.open(tmp_path / "out/a.png")).shape == (60, 80)


@pytest.mark.parametrize("engine", ENGINE_PARAMETERS)
@pytest.mark.parametrize("damage, complaint", [
    (lambda whole: whole[:len(whole) // 3], "cut off, or not a caffemodel"),
    (lambda whole: b"", "contains no layer with weights"),
    (lambda whole: whole.replace(b"conv9", b"convX"), "contains no layer 'conv9'"),
])
def test_damaged_weights_are_named_by_all_engines(deep_weights, tmp_path, engine, damage, complaint):
    (tmp_path / "bad.caffemodel").write_bytes(damage(deep_weights.read_bytes()))
    with pytest.raises(UserError, match=rf"bad\.caffemodel: {complaint}"):
        Predictor(tmp_path / "bad.caffemodel", engine)


@pytest.mark.parametrize("engine", ENGINE_PARAMETERS)
def test_weights_with_the_old_name_of_the_last_layer_give_the_same_map(deep_weights, tmp_path, engine):
    """Our files called it "deconv" before; the authors' files call it "deconv1"."""
    path = with_old_name(deep_weights, tmp_path / "old.caffemodel")
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    maps = [Predictor(weights, engine).predict(image) for weights in (deep_weights, path)]
    np.testing.assert_array_equal(*maps)


def test_parameters_are_checked(deep_weights):
    for options, complaint in [({"engine": "tensorflow"}, "engine 'tensorflow' is not known; give one of: caffe, opencv"),
                               ({"longest_side": 3}, "from 4 to 4096, not 3"), ({"longest_side": 5000}, "from 4 to 4096"),
                               ({"longest_side": "wide"}, "from 4 to 4096"), ({"scaling": "no"}, "released, consistent")]:
        with pytest.raises(UserError, match=re.escape(complaint)):
            Predictor(deep_weights, **options)


@pytest.mark.slow
@pytest.mark.parametrize("height, width", [(1400, 1200), (16, 4096)])
def test_large_images_work(blue_channel, height, width):
    """BVLC's Caffe ends the process above 1024x1024, since the im2col buffer of conv7 has too many values."""
    image = np.zeros((height, width, 3), np.uint8)
    row, column = int(0.97 * height), int(0.1 * width)
    image[row, column, 2] = 255
    saliency = Predictor(blue_channel, longest_side=4096, mean_bgr=(0, 0, 0)).predict(image)
    peak = np.unravel_index(saliency.argmax(), saliency.shape)
    assert abs(peak[0] - row) <= 7 and abs(peak[1] - column) <= 7


def test_too_little_memory_is_an_error(blue_channel, monkeypatch):
    """Otherwise the system would kill the process."""
    monkeypatch.setattr("deep.predictor.available_memory", lambda: 2e9)
    net = Predictor(blue_channel, longest_side=2048)
    with pytest.raises(UserError, match=r"an input of 2048x1024 needs 3.5 GB of memory, but 2.0 GB are available; give a smaller longest_side"):
        net.predict(np.zeros((1024, 2048, 3), np.uint8))


@pytest.mark.skipif("torch" not in INSTALLED, reason="PyTorch is not installed: make torch")
def test_the_memory_of_this_machine_does_not_limit_a_card(blue_channel, monkeypatch):
    """No card is needed: the engine on the CPU is marked as one on a card."""
    monkeypatch.setattr("deep.predictor.available_memory", lambda: 1e5)
    net, image = Predictor(blue_channel, "torch", device="cpu"), np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(UserError, match="are available; give a smaller longest_side"):
        net._most_pixels = 0
        net.predict(image)
    net._on_card = True
    assert net.predict(image).shape == (16, 16)
