import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from data import dataset, density, load

points = st.lists(st.tuples(st.floats(-20, 60, width=32), st.floats(-20, 60, width=32)), max_size=30)


@given(points)
def test_inside_keeps_exactly_the_points_whose_nearest_pixel_exists(raw):
    shape = (30, 40)
    kept = dataset.clip_to_frame(raw, shape)
    expected = sum(0 <= np.floor(x + 0.5) < 40 and 0 <= np.floor(y + 0.5) < 30 for x, y in np.float32(raw).reshape(-1, 2))
    assert kept.dtype == np.float32 and kept.shape == (expected, 2)
    assert ((kept >= 0) & (kept <= [39, 29])).all()


@given(points)
def test_fixation_map_marks_the_nearest_pixels_once(raw):
    kept = dataset.clip_to_frame(raw, (30, 40))
    marked = density.fixation_map(kept, (30, 40))
    assert {(x, y) for y, x in np.argwhere(marked)} == {(int(np.floor(x + 0.5)), int(np.floor(y + 0.5))) for x, y in kept}


@given(st.integers(0, 59), st.integers(0, 79))
def test_density_of_one_fixation_is_a_gaussian(row, column):
    blurred = density.density_map(np.array([[column, row]], np.float32), (60, 80), sigma=5)
    y, x = np.mgrid[:60, :80]
    gaussian = np.exp(-((x - column) ** 2 + (y - row) ** 2) / 50)
    np.testing.assert_allclose(blurred, np.where(gaussian > 1e-3, gaussian, blurred), atol=1e-5)
    assert blurred.max() == 1 and blurred.min() >= 0 and blurred.dtype == np.float32


@given(st.integers(1, 150), st.integers(1, 150), st.floats(0.5, 12), st.integers(1, 300), st.booleans())
def test_density_is_the_blurred_fixation_map(height, width, sigma, count, few):
    """Few fixations and many go different ways to what SciPy's filter gives."""
    points = np.random.default_rng(count).uniform(0, [width - 1, height - 1], (count, 2)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(density, "FEW", 400 if few else 0)
        found = density.density_map(points, (height, width), sigma)
    marked = density.fixation_map(points, (height, width)).astype(float)
    # as our definition has it, cut off at 4 sigma and with nothing beyond the edge
    expected = scipy.ndimage.gaussian_filter(marked, sigma, mode="constant", truncate=4)
    np.testing.assert_allclose(found, expected / expected.max(), atol=3e-6)
    assert found.dtype == np.float32 and found.max() == 1 and found.min() >= 0


@given(st.integers(1, 900), st.floats(0.5, 40))
def test_density_is_summed_without_rounding(count, sigma):
    """Both ways, which add in other orders, give the same bits; see `density_map`."""
    points = np.random.default_rng(count).uniform(0, [89, 69], (count, 2)).astype(np.float32)
    maps = []
    for few in (0, 10 ** 6):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(density, "FEW", few)
            maps.append(density.density_map(points, (70, 90), sigma))
    np.testing.assert_array_equal(*maps)


def test_observers_are_kept_with_the_fixations_in_the_frame():
    looks = [(1, 2), (-9, 0), (5, 3), (6, 1)], [0, 0, 1, 2]
    sample = dataset.Sample("a", (4, 6), None, lambda: looks, sigma=1)
    assert sample.fixations.tolist() == [[1, 2], [5, 3]] and sample.observers.tolist() == [0, 1]
    assert sample.observers.dtype == np.int32
    assert dataset.Sample("a", (4, 6), None, lambda: looks[0], sigma=1).observers is None


def test_observers_of_another_number_are_refused():
    with pytest.raises(UserError, match="a: 2 fixations have 3 observers"):
        dataset.Sample("a", (4, 6), None, lambda: ([(1, 2), (3, 3)], [0, 1, 2]), sigma=1).fixations


def test_density_without_fixations_is_zero():
    assert not density.density_map(np.zeros((0, 2)), (20, 30), sigma=3).any()


def test_samples_read_nothing_until_asked():
    def explode():
        raise AssertionError("read too early")
    sample = dataset.Sample("a", (4, 6), explode, lambda: [(1, 2)], sigma=1)
    assert sample.fixations.tolist() == [[1, 2]] and sample.density.shape == (4, 6)
    with pytest.raises(AssertionError, match="too early"):
        sample.image


def test_an_image_of_another_size_than_announced_is_named():
    sample = dataset.Sample("cat", (4, 6), lambda: np.zeros((4, 5, 3), np.uint8), list, sigma=1)
    with pytest.raises(UserError, match="cat.*5x4.*6x4"):
        sample.image


@pytest.mark.parametrize("bad, complaint", [([[1, 2, 3]], r"\(N, 2\)"), ([[np.nan, 1]], "NaN")])
def test_bad_fixations_are_refused(bad, complaint):
    with pytest.raises(UserError, match=complaint):
        dataset.clip_to_frame(bad, (5, 5))


def test_unknown_names_list_the_known_ones():
    with pytest.raises(UserError, match="folder, isun, mit1003, mit300, osie, salicon, synthetic"):
        load("salicorn", "train")
    with pytest.raises(UserError, match="train, val, test, all"):
        load("synthetic", "validation")
