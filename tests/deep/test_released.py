"""The authors' weights get images, and give maps, as in the authors' code, restated here with NumPy and OpenCV."""
import cv2
import numpy as np
import pytest

from common.errors import UserError
from common.files import write_json
from deep import preprocess
from deep.backend import load_caffe
from deep.predictor import Predictor
from deep.prototxt import DEPLOY
from deep.weights import read_caffemodel, write_caffemodel
from tests.deep.conftest import ENGINE_PARAMETERS, INSTALLED

SIZES = [(685, 1024), (768, 1024), (480, 640), (1024, 683), (200, 301), (31, 33)]


def run_net(layers, net_input):
    """Compute the output of Caffe, (h, w), without any code of the Predictor."""
    caffe = load_caffe()
    net = caffe.Net(str(DEPLOY), caffe.TEST)
    for name, arrays in layers.items():
        for blob, values in zip(net.params[name], arrays):
            blob.data[...] = values
    net.blobs["data"].reshape(1, *net_input.shape)
    net.reshape()
    net.blobs["data"].data[0] = net_input
    return np.array(net.forward()["deconv1"][0, 0])


def texture(height, width):
    """Return an image of leaves and stripes: fine detail, in which interpolation without averaging shows."""
    rng = np.random.default_rng(height)
    y, x = np.mgrid[:height, :width]
    stripes = 60 * np.sin(x / 1.3 + y / 17) + 40 * np.sign(np.sin(y / 9))
    noise = rng.integers(-40, 41, (height, width, 3))
    return (110 + stripes[..., None] * [1, 0.7, -0.8] + noise).clip(0, 255).astype(np.uint8)


def interpolate(image, factor):
    """Shrink an image (H, W, 3) by linear interpolation between the four nearest pixels, in float64."""
    for axis in (0, 1):
        size = image.shape[axis]
        position = ((np.arange(round(size * factor)) + 0.5) / factor - 0.5).clip(0, size - 1)
        lower = np.minimum(position.astype(int), size - 2)
        fraction = (position - lower).reshape(-1, *[1] * (2 - axis))
        image = image.take(lower, axis) * (1 - fraction) + image.take(lower + 1, axis) * fraction
    return image


def restated_input(image):
    """Compute the net's input as the authors' code does, (3, h, w)."""
    shrunk = interpolate(image.astype(float), min(1.0, 320 / image.shape[1], 320 / image.shape[0]))
    return ((shrunk[:, :, [2, 1, 0]] - [100, 110, 118]) * 0.0078431372549).transpose(2, 0, 1)


def restated_map(output, height, width):
    """Compute the map as the authors' code does, before its last step, which cuts it to whole grey levels."""
    grey = np.clip(output * 128 + 127, 0, 255)
    grey = cv2.GaussianBlur(cv2.resize(grey, (width, height), interpolation=cv2.INTER_CUBIC), (5, 5), 0)
    grey = np.clip(grey, 0, 255)
    return grey / grey.max() * 255


@pytest.mark.parametrize("height, width", SIZES)
def test_the_input_is_that_of_the_authors_code(deep_weights, height, width):
    image = texture(height, width)
    predictor = Predictor(deep_weights, "opencv")
    ours, restated = predictor.preprocess(image), restated_input(image)
    assert ours.shape == restated.shape and ours.dtype == np.float32
    np.testing.assert_allclose(127.5 * ours, 127.5 * restated, atol=0.02)  # grey levels
    means = Predictor(deep_weights, "opencv", resizing="area").preprocess(image)[:, :ours.shape[1], :ours.shape[2]]
    difference = 127.5 * np.abs(means - restated).max()
    # half of an image: linear interpolation is the mean of four pixels, which "area" rounds; smaller ones are unchanged
    assert difference <= 0.51 if max(height, width) <= 640 else difference > 20


@pytest.mark.parametrize("height, width", [(685, 1024), (200, 301), (31, 33)])
def test_the_map_is_that_of_the_authors_code(deep_weights, tmp_path, height, width):
    """Also where the net's output is smaller than its input, 212 of 214 rows, and is stretched."""
    image = texture(height, width)
    layers, net_input = read_caffemodel(deep_weights), restated_input(image).astype(np.float32)
    output = run_net(layers, net_input)
    factor = 2 / output.max()  # the output is proportional to conv9's weights, and grey levels above 255 are clipped
    layers["conv9"][0] = factor * layers["conv9"][0]
    write_caffemodel(tmp_path / "net.caffemodel", layers)
    restated = restated_map(factor * output, height, width)
    assert np.ptp(restated) > 100
    for engine in INSTALLED:
        saliency = Predictor(tmp_path / "net.caffemodel", engine).predict(image)
        np.testing.assert_allclose(255 * saliency, restated, atol=0.1, err_msg=engine)


def test_the_default_is_released_for_weights_without_a_config_only(deep_weights, tmp_path):
    assert Predictor(deep_weights, "opencv").resizing == "released"
    (tmp_path / "weights.caffemodel").symlink_to(deep_weights)
    for predict, resizing in (({"longest_side": 320}, "area"), ({"resizing": "released"}, "released")):
        write_json(tmp_path / "config.json", {"net": "deep", "predict": predict})
        assert Predictor(tmp_path / "weights.caffemodel", "opencv").resizing == resizing
    assert Predictor(tmp_path / "weights.caffemodel", "opencv", resizing="area").resizing == "area"
    with pytest.raises(UserError, match="resizing 'linear' is not known; give one of: released, area"):
        Predictor(deep_weights, "opencv", resizing="linear")


@pytest.mark.parametrize("height, width", [(1, 1), (1, 700), (3, 5), (7, 9), (2000, 8)])
@pytest.mark.parametrize("engine", ENGINE_PARAMETERS)
def test_tiny_and_thin_images_have_maps(deep_weights, height, width, engine):
    """The authors' code stops at them."""
    saliency = Predictor(deep_weights, engine).predict(texture(height, width))
    assert saliency.shape == (height, width) and np.isfinite(saliency).all()


def test_the_overshoot_of_the_cubic_interpolation_is_clipped():
    output = np.full((40, 40), -1, np.float32)
    output[10:30, 10:30] = 1
    released, area = (preprocess.to_saliency(output, (320, 320), resizing=resizing) for resizing in preprocess.RESIZINGS)
    assert (released == 1).sum() > 15_000 and released.max() == 1  # the whole plateau
    assert (area == 1).sum() < 10 and area[160, 160] < 0.9  # a corner of the plateau is the maximum
