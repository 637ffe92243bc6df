"""The deep net's Predictor on pictures of every size."""
import numpy as np
import pytest

from deep import preprocess
from deep.predictor import Predictor


@pytest.fixture(scope="module")
def see_through(tmp_path_factory):
    """Weights with which the net answers how blue a place is: every layer hands its first channel on."""
    from deep.backend import DEPLOY, load_caffe

    caffe = load_caffe()
    net = caffe.Net(str(DEPLOY), caffe.TEST)
    for name, blobs in net.params.items():
        for blob in blobs:
            blob.data[...] = 0
        if name == "deconv":
            blobs[0].data[0, 0, 2:6, 2:6] = 1  # each answer fills its own cell of 4x4 pixels
        else:
            centre = blobs[0].data.shape[2] // 2
            blobs[0].data[0, 0, centre, centre] = 1
    path = tmp_path_factory.mktemp("deep") / "see-through.caffemodel"
    net.save(str(path))
    return path


@pytest.mark.parametrize("height, width", [(4, 4), (5, 9), (6, 10), (7, 11), (213, 30), (50, 75), (64, 47)])
def test_the_last_row_and_column_count_whatever_the_size(see_through, height, width):
    """A blue dot in each corner must come out in that corner."""
    predictor = Predictor(see_through, mean_bgr=(0, 0, 0))
    for row in (0, height - 1):
        for column in (0, width - 1):
            image = np.zeros((height, width, 3), np.uint8)
            image[row, column, 2] = 255
            saliency = predictor.predict(image)
            assert saliency.shape == (height, width)
            brightest = np.unravel_index(saliency.argmax(), saliency.shape)
            # pools look up to three pixels further, cells are of four
            assert abs(brightest[0] - row) <= 7 and abs(brightest[1] - column) <= 7
            far = np.hypot(*np.meshgrid(np.arange(height) - row, np.arange(width) - column, indexing="ij")) > 16
            assert not far.any() or saliency[far].max() <= saliency.min() + 1e-6
            assert saliency[row, column] > saliency.min() + 0.1 or max(height, width) < 8


@pytest.mark.parametrize("size", [(4, 4), (5, 6), (8, 7), (213, 320)])
def test_padding_reaches_multiples_of_four_with_the_mean_pixel(size):
    fed = np.random.default_rng(0).random((3, *size), np.float32)
    padded = preprocess.pad(fed)
    assert padded.shape[0] == 3 and all(n % 4 == 0 and 0 <= n - m < 4 for n, m in zip(padded.shape[1:], size))
    np.testing.assert_array_equal(padded[:, :size[0], :size[1]], fed)
    assert not padded[:, size[0]:].any() and not padded[:, :, size[1]:].any()
