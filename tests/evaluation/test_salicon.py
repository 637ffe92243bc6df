"""The SALICON metrics against a plain implementation over lists of points, and against the benchmark's."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import load
from data.density import fixation_map
from data.maps import open_maps
from evaluation import metrics, negatives, salicon
from evaluation.conventions import CONVENTIONS


def n01(values):
    return (values - values.min()) / (values.max() - values.min())


def plain_auc(positives, negatives):
    """Compute the ROC area of two lists of values with thresholds 0, 0.01, ... below the highest value."""
    thresholds = np.arange(0, max(max(positives), max(negatives)), 0.01)[::-1]
    true = [0, *((positives >= t).mean() for t in thresholds), 1]
    false = [0, *((negatives >= t).mean() for t in thresholds), 1]
    return np.trapz(true, false)


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.sampled_from([5, 256, 10**6]))
def test_scores_equal_those_of_lists_of_points(seed, levels):
    rng = np.random.default_rng(seed)
    saliency = rng.integers(0, levels, (20, 30)) / levels
    counts, others = rng.poisson(0.1, (20, 30)), rng.poisson(0.8, (20, 30))
    counts[3, 4], others[5, 6] = 2, 1
    counts[5, 6] = 0
    values = n01(saliency).ravel()
    points = values.repeat(counts.ravel())
    elsewhere = values.repeat(np.where(counts > 0, 0, others).ravel())
    assert salicon.auc_shuffled(saliency, counts, others) == pytest.approx(plain_auc(points, elsewhere), abs=1e-12)
    assert salicon.auc_borji(saliency, counts) == pytest.approx(plain_auc(points, values), abs=1e-12)
    z = ((saliency - saliency.mean()) / saliency.std()).ravel()
    assert salicon.nss(saliency, counts) == pytest.approx(z.repeat(counts.ravel()).mean(), abs=1e-9)


# means of the published evaluator on its own example; rounding at its thresholds moves them by up to 0.0002
@pytest.mark.parametrize("points, published", [("repeated", 0.7892), ("all", 0.6774)])
def test_shuffled_auc_is_that_of_the_published_evaluator(salicon_root, points, published):
    dataset = load("salicon", "train", salicon_root, points=points)
    maps = open_maps(salicon_root / "results/fixations_train2014examples_fake_results.json", dataset.names)
    convention, scores = CONVENTIONS["salicon"], []
    source = convention.prepare(dataset)
    marked = {sample.name: fixation_map(sample.fixations, sample.shape) for sample in dataset}
    for index, sample in enumerate(dataset):
        counts = negatives.count_fixations(sample.fixations, sample.shape)
        others = convention.make_negatives(source, index, sample, 0)
        scores.append(salicon.auc_shuffled(maps[sample.name], counts, others))
        values = n01(maps[sample.name].astype(float)).ravel()
        passed = sum(marked.values()) * ~marked[sample.name]  # a pixel of another image once, its own pixels never
        plain = plain_auc(values.repeat(counts.ravel()), values.repeat(passed.ravel()))
        assert scores[-1] == pytest.approx(plain, abs=1e-12)
    assert np.mean(scores) == pytest.approx(published, abs=0.0002)


def test_shuffled_auc_approximates_the_benchmark_with_fine_steps_and_all_negatives():
    rng = np.random.default_rng(0)
    saliency = rng.random((60, 80))
    fixations, others = rng.random((60, 80)) < 0.01 + 0.1 * saliency**4, rng.random((60, 80)) < 0.3
    ours = salicon.auc_shuffled(saliency, fixations, others)
    assert ours == pytest.approx(metrics.auc_shuffled(saliency, fixations, others & ~fixations, None, 0.01), abs=0.01)
    assert ours > metrics.auc_shuffled(saliency, fixations, others)


def test_degenerate_input_gives_nan_or_one_half():
    ramp, none = np.arange(12.0).reshape(3, 4), np.zeros((3, 4), int)
    assert np.isnan(salicon.auc_shuffled(ramp, none, ramp > 3)) and np.isnan(salicon.auc_shuffled(ramp, ramp > 3, none))
    assert np.isnan(salicon.auc_shuffled(ramp, ramp > 3, ramp > 3)), "the image's own pixels are not negatives"
    assert salicon.auc_shuffled(np.ones((3, 4)), ramp > 3, ramp < 3) == 0.5
    assert np.isnan(salicon.nss(np.ones((3, 4)), ramp > 3)) and np.isnan(salicon.nss(ramp, none))
    with pytest.raises(ValueError, match="resize the prediction"):
        salicon.nss(ramp, np.ones((4, 3)))
    with pytest.raises(ValueError, match="NaN"):
        salicon.auc_borji(np.full((3, 4), np.nan), ramp > 3)
