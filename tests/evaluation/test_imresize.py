"""imresize against a plain implementation pixel by pixel, and against Pillow's bicubic away from the edges."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from evaluation.imresize import imresize


def plain_line(line, new, scale):
    """Resize one row or column as the definition states it."""
    stretch, old, out = min(scale, 1), len(line), []
    for i in range(new):
        centre = (i + 0.5) / scale - 0.5
        total = weight_sum = 0.0
        for j in range(int(np.floor(centre - 2 / stretch)) - 2, int(np.ceil(centre + 2 / stretch)) + 3):
            x = abs(centre - j) * stretch
            weight = 1.5 * x**3 - 2.5 * x**2 + 1 if x <= 1 else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0
            mirrored = j % (2 * old)
            total += weight * line[mirrored if mirrored < old else 2 * old - 1 - mirrored]
            weight_sum += weight
        out.append(total / weight_sum)
    return out


@settings(max_examples=40)
@given(st.tuples(*[st.integers(1, 30)] * 2), st.tuples(*[st.integers(1, 30)] * 2), st.integers(0, 2**32 - 1))
def test_values_equal_the_definition(old, new, seed):
    image = np.random.default_rng(seed).random(old)
    half = np.array([plain_line(line, new[1], new[1] / old[1]) for line in image])
    expected = np.array([plain_line(line, new[0], new[0] / old[0]) for line in half.T]).T
    np.testing.assert_allclose(imresize(image, new), expected, atol=1e-12)


@pytest.mark.parametrize("new", [(60, 80), (300, 401), (37, 53)])
def test_pillow_agrees_away_from_the_edges(new):
    image = np.random.default_rng(0).random((120, 160)).astype(np.float32)
    expected = np.asarray(Image.fromarray(image).resize(new[::-1], Image.BICUBIC))
    edge = [int(np.ceil(2 * max(1, n / o))) + 1 for n, o in zip(new, image.shape)]
    interior = np.s_[edge[0]:-edge[0], edge[1]:-edge[1]]
    np.testing.assert_allclose(imresize(image, new)[interior], expected[interior], atol=2e-6)


def test_a_scale_rounds_the_size_up_and_keeps_the_grid():
    image = np.random.default_rng(0).random((70, 95))
    small = imresize(image, 1 / 32)
    assert small.shape == (3, 3)
    half = np.array([plain_line(line, 3, 1 / 32) for line in image])
    np.testing.assert_allclose(small, np.array([plain_line(line, 3, 1 / 32) for line in half.T]).T, atol=1e-12)


def test_identity_constants_symmetry_and_ramps_are_kept():
    image = np.random.default_rng(0).random((20, 30))
    np.testing.assert_allclose(imresize(image, (20, 30)), image, atol=1e-12)
    np.testing.assert_allclose(imresize(np.full((20, 30), 0.7), (7, 90)), 0.7, atol=1e-12)
    np.testing.assert_allclose(imresize(image[::-1, ::-1], (33, 11)), imresize(image, (33, 11))[::-1, ::-1], atol=1e-12)
    ramp = np.arange(30.0)[None].repeat(9, 0)
    np.testing.assert_allclose(np.diff(imresize(ramp, (9, 60))[0, 8:-8]), 0.5, atol=1e-12)
    assert imresize(np.eye(8, dtype=bool), (4, 4)).dtype == np.float64


@pytest.mark.parametrize("image, size, message", [
    (np.zeros((2, 2, 3)), (2, 2), "2-D"), (np.zeros((0, 3)), (2, 2), "2-D"), (np.full((2, 2), np.nan), (3, 3), "NaN"),
    (np.zeros((2, 2)), (0, 3), "positive"), (np.zeros((2, 2)), -1, "positive"), (np.zeros((2, 2)), float("nan"), "")])
def test_bad_input_raises(image, size, message):
    with pytest.raises(ValueError, match=message):
        imresize(image, size)
