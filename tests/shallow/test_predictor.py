"""Prediction with the shallow net: single images, batches, and the options stored with the weights."""
import numpy as np
import pytest

from common.errors import UserError
from shallow import network, preprocess, weights
from shallow.predictor import Predictor


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in ((60, 80), (90, 40), (96, 96))]


def test_a_batch_gives_the_same_maps_as_its_images_alone(shallow_weights, images):
    predictor = Predictor(shallow_weights)
    outputs = predictor.forward(np.stack([predictor.preprocess(image) for image in images]))
    for image, output in zip(images, outputs, strict=True):
        saliency = predictor.postprocess(output, image.shape[:2])
        assert saliency.shape == image.shape[:2] and saliency.dtype == np.float32
        assert 0 <= saliency.min() < saliency.max() <= 1
        np.testing.assert_allclose(predictor.predict(image), saliency, atol=1e-5)


def test_settings_of_the_weights_decide_how_they_are_used(tmp_path, images):
    """The settings of the released weights: targets in [-1, 1], cropped images, blur before resizing."""
    parameters = network.named_parameters(network.build(conv3_filters=64, init="released"))
    arrays = {name: value.get_value() for name, value in parameters.items()}
    path = tmp_path / "weights.npz"
    weights.save(path, arrays, {"conv3_filters": 64, "target_range": [-1, 1], "fit": "crop", "smoothing": "released"})
    predictor = Predictor(path)
    output = predictor.forward(preprocess.to_input(preprocess.crop_image(images[0]))[None])[0]
    np.testing.assert_allclose(predictor.predict(images[0]),
                               preprocess.to_saliency(output, (60, 80), "released", (-1, 1)), atol=1e-6)
    saliency = Predictor(path, fit="squash", smoothing="paper").predict(images[0])
    output = predictor.forward(preprocess.to_input(preprocess.squash_image(images[0]))[None])[0]
    np.testing.assert_allclose(saliency, preprocess.to_saliency(output, (60, 80), "paper", (-1, 1)), atol=1e-6)


def test_prediction_uses_pools_and_loss_of_the_training(tmp_path, images):
    parameters = network.named_parameters(network.build(conv3_filters=64, init="released"))
    arrays = {name: value.get_value() for name, value in parameters.items()}
    path, maps = tmp_path / "weights.npz", []
    for settings in ({}, {"pools": "3x3"}, {"loss": "cross-entropy"}):
        weights.save(path, arrays, settings)
        maps.append(Predictor(path).predict(images[0]))
    assert np.abs(maps[0] - maps[1]).max() > 1e-3
    assert 0.4 < maps[2].min() and maps[2].max() < 0.9  # sigmoid of outputs near 0


def test_unknown_options_and_settings_are_errors(shallow_weights, tmp_path):
    with pytest.raises(UserError, match="weights.npz: smoothing 'none' is not known; give one of: paper, released"):
        Predictor(shallow_weights, smoothing="none")
    path = tmp_path / "weights.npz"
    weights.save(path, weights.load(shallow_weights)[0], {"pools": "5x5"})
    with pytest.raises(UserError, match="weights.npz: its settings describe no net of this project"):
        Predictor(path)
    weights.save(path, weights.load(shallow_weights)[0], {"target_range": "wide"})
    with pytest.raises(UserError, match="weights.npz: its settings give no range of maps"):
        Predictor(path)
    weights.save(path, {}, ["no", "names"])
    with pytest.raises(UserError, match="no 'settings' entry with names and values"):
        Predictor(path)
