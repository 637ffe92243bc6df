"""Conversion of images and maps for the shallow net, in both directions."""
import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from shallow import preprocess


def test_images_are_squashed_to_96x96_in_rgb():
    image = np.zeros((60, 200, 3), np.uint8)
    image[:, :100], image[:, 100:] = (255, 0, 10), (0, 40, 255)
    squashed = preprocess.squash_image(image)
    assert squashed.shape == (3, 96, 96) and squashed.dtype == np.uint8
    assert (squashed[:, :, :47].reshape(3, -1).T == (255, 0, 10)).all()
    net_input = preprocess.to_input(squashed)
    assert net_input.dtype == np.float32 and net_input.max() == 1 and net_input.min() == 0


@pytest.mark.parametrize("shape", [(60, 200), (200, 60), (96, 97), (50, 50)])
def test_crop_takes_the_central_square(shape):
    rows, columns = np.mgrid[:shape[0], :shape[1]]
    image = np.stack([rows, columns, np.zeros(shape)], axis=2).astype(np.uint8)
    cropped = preprocess.crop_image(image).astype(float)
    assert cropped.shape == (3, 96, 96)
    side = min(shape)
    for axis, channel in ((0, cropped[0]), (1, cropped[1])):
        start = (shape[axis] - side) // 2
        assert channel.min() == pytest.approx(start, abs=1.5) and channel.max() == pytest.approx(start + side - 1, abs=1.5)
    if shape[0] == shape[1]:
        np.testing.assert_array_equal(cropped, preprocess.squash_image(image))


@pytest.mark.parametrize("target_range", [(0.0, 1.0), (-1.0, 1.0)])
@pytest.mark.parametrize("smoothing", preprocess.SMOOTHINGS)
def test_a_density_map_survives_the_conversion_to_a_target_and_back(target_range, smoothing):
    density = gaussian_filter(np.pad([[1.0]], 120), 30)
    density = (density / density.max()).astype(np.float32)
    target = preprocess.to_target(preprocess.squash_density(density), target_range)
    assert target.shape == (48, 48) and target.dtype == np.float32
    assert target.min() == pytest.approx(target_range[0], abs=0.02) and target.max() == pytest.approx(1, abs=0.02)
    back = preprocess.to_saliency(target.ravel(), density.shape, smoothing, target_range)
    assert back.shape == density.shape and back.dtype == np.float32 and 0 <= back.min() <= back.max() <= 1
    # the released blur, 3 of 48 cells, is 15 pixels of this image: with the map's own sigma of 30, it lowers the peak
    blurred = {"paper": density, "released": gaussian_filter(density, 3 * 241 / 48)}[smoothing]
    np.testing.assert_allclose(back, blurred, atol=0.015)


def test_smoothing_of_the_paper_is_sigma_2_at_the_size_of_the_image():
    output = np.random.default_rng(0).random((48, 48)).astype(np.float32)
    saliency = preprocess.to_saliency(output, (96, 144))
    resized = cv2.resize(output, (144, 96), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_allclose(saliency, gaussian_filter(resized, 2.0, mode="reflect", truncate=4).clip(0, 1), atol=5e-3)


def test_outputs_outside_the_range_are_clipped():
    saliency = preprocess.to_saliency(np.linspace(-3, 4, 2304, dtype=np.float32), (50, 70))
    assert saliency.min() == 0 and saliency.max() == 1
