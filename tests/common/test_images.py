"""Images of floats; limits of pixels."""
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from common.errors import UserError
from common.images import image_shape, read_image


def test_floats_from_0_to_1_are_scaled_to_8_bits(tmp_path):
    Image.fromarray(np.array([[0, 0.2, 1]], np.float32)).save(tmp_path / "a.tif")
    image = read_image(tmp_path / "a.tif")
    assert image.dtype == np.uint8 and image[0].tolist() == [[0] * 3, [51] * 3, [255] * 3]


@pytest.mark.parametrize("values, span", [((0, 255), "0 to 255"), ((-0.5, 1), "-0.5 to 1"), ((0, np.nan), "nan")])
def test_other_floats_are_rejected(tmp_path, values, span):
    Image.fromarray(np.array([values], np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=rf"a.tif: has floats from .*{span}.*; scale it to \[0, 1\]"):
        read_image(tmp_path / "a.tif")


def test_pillows_own_limit_of_pixels_stays_for_other_code(tmp_path, monkeypatch):
    """Also if several threads open images at the same time; and our limit does not depend on it."""
    path = tmp_path / "a.png"
    Image.new("L", (400, 400)).save(path)
    (tmp_path / "b.png").write_bytes(b"damaged")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)

    def open_some(_):
        for _ in range(20):
            assert read_image(path).shape == (400, 400, 3) and image_shape(path) == (400, 400)
            with pytest.raises(UserError):
                read_image(tmp_path / "b.png")

    with warnings.catch_warnings(), ThreadPoolExecutor(4) as threads:
        warnings.simplefilter("error")
        list(threads.map(open_some, range(4)))
    assert Image.MAX_IMAGE_PIXELS == 1000
    with pytest.raises(Image.DecompressionBombError):
        Image.open(path)
    monkeypatch.setenv("SALIENCY_IMAGE_MEGAPIXELS", "1")
    Image.new("L", (1001, 1000)).save(path)
    with pytest.raises(UserError, match="has 1001x1000 pixels, more than 1 megapixels"):
        read_image(path)
