"""Images of floats."""
import numpy as np
import pytest
from PIL import Image

from common.errors import UserError
from common.images import read_image


def test_floats_from_0_to_1_are_scaled_to_8_bits(tmp_path):
    Image.fromarray(np.array([[0, 0.2, 1]], np.float32)).save(tmp_path / "a.tif")
    image = read_image(tmp_path / "a.tif")
    assert image.dtype == np.uint8 and image[0].tolist() == [[0] * 3, [51] * 3, [255] * 3]


@pytest.mark.parametrize("values, span", [((0, 255), "0 to 255"), ((-0.5, 1), "-0.5 to 1"), ((0, np.nan), "nan")])
def test_other_floats_are_rejected(tmp_path, values, span):
    Image.fromarray(np.array([values], np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=rf"a.tif: has floats from .*{span}.*; scale it to \[0, 1\]"):
        read_image(tmp_path / "a.tif")
