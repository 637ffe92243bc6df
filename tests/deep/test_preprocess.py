import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep import preprocess


@given(st.integers(1, 3000), st.integers(1, 3000), st.sampled_from([128, 320]))
def test_fit_size_keeps_the_aspect_ratio_and_never_enlarges(height, width, side):
    fitted = preprocess.fit_size((height, width), side)
    assert max(fitted) <= side and min(fitted) >= 4 and fitted[0] <= max(4, width) and fitted[1] <= max(4, height)
    if max(height, width) > side:
        assert max(fitted) == side
        assert fitted[1] == 4 or abs(fitted[1] - height * side / max(height, width)) <= 1
    else:
        assert fitted == (max(4, width), max(4, height))


def test_input_is_bgr_minus_the_mean_pixel_scaled():
    image = np.zeros((4, 6, 3), np.uint8)
    image[..., 0] = 255  # red
    net_input = preprocess.to_input(preprocess.resize_image(image, (6, 4)), preprocess.AUTHORS_MEAN_BGR)
    assert net_input.shape == (3, 4, 6) and net_input.dtype == np.float32
    np.testing.assert_allclose(net_input[:, 0, 0], [-100 / 127.5, -110 / 127.5, (255 - 118) / 127.5], rtol=1e-6)


def test_consistent_scaling_inverts_the_target():
    density = np.random.default_rng(0).random((30, 40), np.float32)
    target = preprocess.to_target(preprocess.resize_density(density, (40, 30)), 31.0)[0]
    back = target / preprocess.MAP_SCALE + 31.0
    np.testing.assert_allclose(back / 255, density, atol=1e-6)
    # with the whole postprocessing, for a map that the blur hardly changes
    y, x = np.mgrid[:120, :160]
    smooth = np.exp(-((x - 80) ** 2 + (y - 60) ** 2) / 3200).astype(np.float32)
    target = preprocess.to_target(preprocess.resize_density(smooth, (160, 120)), 31.0)[0]
    np.testing.assert_allclose(preprocess.to_saliency(target, (120, 160), "consistent", 31.0), smooth, atol=0.01)


def test_released_scaling_is_that_of_the_authors_code():
    output = np.full((12, 16), 0.5, np.float32)
    output[4:8, 4:8] = 2.0  # 2 x 128 + 127 = 383: clipped to 255
    saliency = preprocess.to_saliency(output, (24, 32))
    assert saliency.shape == (24, 32) and saliency.dtype == np.float32
    assert saliency.max() == 1
    assert saliency[0, 0] == pytest.approx((0.5 * 128 + 127) / 255, abs=0.02)
    assert not preprocess.to_saliency(np.full((12, 16), -1.5, np.float32), (24, 32)).any()
