"""The classical models: properties that their papers state, on synthetic and on real images."""
import numpy as np
import pytest

from evaluation import saliency_models
from evaluation.saliency_models import bms, gbvs, itti

MODELS = pytest.mark.parametrize("model", [itti, gbvs, bms])


@pytest.fixture(scope="module")
def disc():
    """Return an image of a red disc, left of the centre, on a grey-green texture; and the mask of the disc."""
    rng = np.random.default_rng(0)
    image = np.array([100, 130, 100]) + rng.integers(-25, 26, (120, 160, 1))
    row, column = np.ogrid[:120, :160]
    mask = (row - 60) ** 2 + (column - 50) ** 2 <= 14 ** 2
    image[mask] = (220, 30, 30)
    return image.astype(np.uint8), mask


@MODELS
@pytest.mark.parametrize("shape", [(16, 16), (17, 41), (93, 31), (16, 200)])
def test_any_size_gives_a_map_of_that_size(model, shape):
    image = np.random.default_rng(1).integers(256, size=(*shape, 3), dtype=np.uint8)
    saliency = model(image)
    assert saliency.shape == shape and saliency.dtype == np.float32
    assert saliency.min() == 0 and saliency.max() == 1  # false also for NaN


@MODELS
@pytest.mark.parametrize("colour", [(0, 0, 0), (128, 128, 128), (255, 255, 255), (200, 30, 90)])
def test_the_map_of_a_uniform_image_is_zero(model, colour):
    saliency = model(np.full((60, 81, 3), colour, np.uint8))
    assert saliency.dtype == np.float32 and not saliency.any()


@MODELS
def test_a_red_disc_stands_out(model, disc):
    image, mask = disc
    saliency = model(image)
    assert saliency[mask].mean() > 2 * saliency[~mask].mean()
    assert mask[np.unravel_index(saliency.argmax(), saliency.shape)]


@MODELS
def test_a_model_is_deterministic_and_does_not_change_the_image(model, disc):
    image = disc[0].copy()
    np.testing.assert_array_equal(model(image), model(image))
    np.testing.assert_array_equal(image, disc[0])


def test_itti_keeps_one_peak_and_suppresses_many():
    def bumps(*centres):
        row, column = np.ogrid[:48, :48]
        return sum(np.exp(-((row - y) ** 2 + (column - x) ** 2) / 8) for y, x in centres).astype(np.float32)

    single, unequal, many = (saliency_models._normalised(feature) for feature in (
        bumps((24, 24)), bumps((24, 24)) + bumps((8, 8)) / 2,
        bumps(*((y, x) for y in (8, 24, 40) for x in (8, 24, 40)))))
    assert single.max() == 1
    assert unequal.max() == pytest.approx(0.25, abs=1e-3)  # (1 - 1/2) squared
    assert many.max() < 1e-3


def test_itti_responds_to_hue_at_equal_intensity():
    mask = np.zeros((128, 128), bool)
    mask[48:80, 48:80] = True
    saliency = itti(np.where(mask[..., None], (150, 60, 90), (60, 150, 90)).astype(np.uint8))
    assert saliency[mask].mean() > 2 * saliency[~mask].mean()


def test_itti_distinguishes_orientations():
    row, column = np.indices((64, 64))
    bars = {0: column, 45: row + column, 90: row, 135: row - column}  # direction in which the bars alternate
    for angle, along in bars.items():
        wave = np.sin(2 * np.pi * along / (7 if angle in (0, 90) else 7 * 2 ** 0.5)).astype(np.float32)
        energy = {other: saliency_models._energy(wave, other).mean() for other in bars}
        assert max(energy, key=energy.get) == angle
        assert energy[angle] > 4 * energy[(angle + 90) % 180]


def test_gbvs_closed_form_equals_power_iteration():
    shape = (5, 7)
    closeness = saliency_models._closeness(shape, 1.5)
    feature = np.random.default_rng(2).normal(size=35)
    activation = saliency_models._activation(feature, closeness)
    concentration = saliency_models._concentration(activation, closeness)
    to_dissimilar = np.abs(feature[:, None] - feature) * closeness
    to_active = activation[None] * closeness
    for weights, closed_form in ((to_dissimilar, activation), (to_active, concentration)):
        transition = weights / weights.sum(axis=1, keepdims=True)
        distribution = np.full(35, 1 / 35)
        for _ in range(2000):
            distribution = distribution @ transition
        np.testing.assert_allclose(closed_form, distribution, rtol=1e-9)


def test_bms_ignores_regions_at_the_border():
    image = np.full((90, 120, 3), 90, np.uint8)
    image[35:55, 40:60] = 200  # surrounded
    expected = bms(image)
    image[30:60, 100:] = 200  # as bright, at the border
    saliency = bms(image)
    np.testing.assert_array_equal(saliency, expected)
    assert saliency[45, 50] > 0.9 and saliency[45, 118] == 0


def test_bms_marks_a_ring_and_its_interior():
    boolean = np.zeros((9, 9), np.uint8)
    boolean[2:7, 2:7] = 1
    boolean[4, 4] = 0
    boolean[0, 8] = 1
    expected = np.zeros((9, 9), np.uint8)
    expected[2:7, 2:7] = 1
    np.testing.assert_array_equal(saliency_models._surrounded(boolean), expected)
    np.testing.assert_array_equal(saliency_models._surrounded(1 - boolean), expected)


def test_models_rank_on_real_images_as_in_the_literature(osie_root):
    from data.dataset import load
    from data.density import fixation_map
    from evaluation.baselines import chance
    from evaluation.metrics import Fixations, auc_judd

    scores = []
    for index, sample in enumerate(load("osie", "test", osie_root)[:15]):
        fixations = Fixations(fixation_map(sample.fixations, sample.shape))
        maps = chance(sample.shape, index), itti(sample.image), gbvs(sample.image), bms(sample.image)
        scores.append([auc_judd(saliency, fixations) for saliency in maps])
    auc_chance, auc_itti, auc_gbvs, auc_bms = np.mean(scores, axis=0)
    assert auc_chance + 0.1 < auc_itti < min(auc_gbvs, auc_bms) - 0.03
