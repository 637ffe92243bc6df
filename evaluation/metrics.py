"""The measures of Tables 3 to 6, as the MIT saliency benchmark defines them, in float64.

All take 2-D arrays of one shape, rows first. `saliency` is the prediction, `density` the blurred
ground truth, `fixations` a map of where people looked: every pixel above 0 counts once.
NaN or infinity in a map, or maps of different shapes, raise ValueError.
"""
import numpy as np

MEASURES = ("SIM", "CC", "AUC-shuffled", "AUC-Borji", "AUC-Judd")  # the columns of Table 3, in its order
SPLITS, STEP = 100, 0.1  # of the two AUCs with random negatives
JITTER = 1e-7  # AUC-Judd's tie breaker


def similarity(saliency, density):
    """Similarity: what two maps share, as histograms over the pixels.

    Each map is scaled to [0, 1], then to sum 1; the score is the sum of the pixelwise minima.

    Returns
    -------
    float in [0, 1]
        0 if a map is zero everywhere, NaN if one is constant but not zero.
    """
    saliency, density = _maps(saliency, density)
    if not (saliency.any() and density.any()):
        return 0.0
    first, second = _unit_sum(saliency), _unit_sum(density)
    return float("nan") if first is None or second is None else float(np.minimum(first, second).sum())


def cc(saliency, density):
    """Pearson's correlation of the two maps, in [-1, 1]; NaN if either is constant."""
    saliency, density = _maps(saliency, density)
    if saliency.min() == saliency.max() or density.min() == density.max():
        return float("nan")
    first, second = saliency.ravel() - saliency.mean(), density.ravel() - density.mean()
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))


def auc_judd(saliency, fixations, jitter=True, rng=None):
    """Area under the ROC curve with the values at the fixations as thresholds.

    At the i-th highest of N fixated values, the true positive rate is i / N and the false positive
    rate the share of the other pixels at or above it, (count - i) / (pixels - N).

    Parameters
    ----------
    saliency : (H, W)
    fixations : (H, W), fixated where > 0
    jitter : bool
        Add uniform noise below 1e-7, so that ties do not count against the map.
    rng : numpy.random.Generator, int or None
        Of the noise; None: seed 0.

    Returns
    -------
    float in [0, 1]; NaN without fixations, with every pixel fixated, or for a constant map without jitter
    """
    saliency, fixated = _maps(saliency, fixations, binary=True)
    count = np.count_nonzero(fixated)
    if count in (0, saliency.size) or (not jitter and saliency.min() == saliency.max()):
        return float("nan")
    if jitter:
        saliency = saliency + _generator(rng).random(saliency.shape) * JITTER
    saliency = _unit_range(saliency)
    thresholds = np.sort(saliency[fixated])
    # how many thresholds each pixel reaches; so how many pixels reach each threshold, without sorting pixels
    reached = np.bincount(np.searchsorted(thresholds, saliency.ravel(), side="right"), minlength=count + 1)
    at_or_above = np.cumsum(reached[::-1])[:-1]  # from the highest threshold down
    order = np.arange(1, count + 1)
    return _area(order / count, (at_or_above - order) / (saliency.size - count))


def auc_borji(saliency, fixations, splits=SPLITS, step=STEP, rng=None):
    """Area under the ROC curve against pixels drawn at random, with replacement, from the whole image.

    Parameters
    ----------
    saliency : (H, W)
    fixations : (H, W), fixated where > 0
    splits : int or None
        How many draws, of as many pixels as there are fixations, to average. None: the value
        expected over infinitely many, in closed form.
    step : float
        Between thresholds, on the map scaled to [0, 1].
    rng : numpy.random.Generator, int or None
        Of the draws; None: seed 0.

    Returns
    -------
    float in [0, 1]; NaN with fewer than two fixations or with every pixel fixated, 0.5 for a constant map
    """
    saliency, fixated = _maps(saliency, fixations, binary=True)
    count = np.count_nonzero(fixated)
    if count <= 1 or count == saliency.size:
        return float("nan")
    levels, thresholds = _levels(saliency, step)
    negatives = np.bincount(levels.ravel(), minlength=thresholds)
    if splits is not None:
        # only each drawn pixel's level matters, and how many of each are drawn is multinomial
        negatives = _generator(rng).multinomial(count, negatives / negatives.sum(), size=splits)
    return _stepped_area(np.bincount(levels[fixated], minlength=thresholds), negatives)


def auc_shuffled(saliency, fixations, other_fixations, splits=SPLITS, step=STEP, rng=None):
    """Area under the ROC curve against where people looked in other images: takes the centre bias out.

    Parameters
    ----------
    saliency : (H, W)
    fixations : (H, W), fixated where > 0
    other_fixations : (H, W), fixated where > 0
        Fixations of other images. A split draws as many of them, without replacement, as there
        are fixations, or all if there are fewer.
    splits, step, rng
        As for `auc_borji`.

    Returns
    -------
    float in [0, 1]; NaN with fewer than two fixations, every pixel fixated or no other fixations; 0.5 for a
    constant map
    """
    saliency, fixated = _maps(saliency, fixations, binary=True)
    _, others = _maps(saliency, other_fixations, binary=True)
    count, available = np.count_nonzero(fixated), np.count_nonzero(others)
    if count <= 1 or count == saliency.size or not available:
        return float("nan")
    levels, thresholds = _levels(saliency, step)
    negatives = np.bincount(levels[others], minlength=thresholds)
    if splits is not None:
        # likewise, but drawing without replacement is multivariate hypergeometric
        negatives = _generator(rng).multivariate_hypergeometric(negatives, min(count, available), size=splits,
                                                                method="marginals")
    return _stepped_area(np.bincount(levels[fixated], minlength=thresholds), negatives)


def _maps(saliency, other, binary=False):
    """Both as arrays, checked; `other` as bool if it is a fixation map."""
    saliency, other = np.asarray(saliency, np.float64), np.asarray(other)
    if saliency.ndim != 2 or saliency.shape != other.shape or not saliency.size:
        raise ValueError(f"maps must be 2-D and of one shape, not {saliency.shape} and {other.shape}; "
                         "resize the prediction to its image first")
    for name, values in (("prediction", saliency), ("ground truth", other)):
        if not np.isfinite(values).all():
            raise ValueError(f"NaN or infinity in the {name}; predict or load it again")
    return saliency, other > 0 if binary else other.astype(np.float64)


def _generator(rng):
    return np.random.default_rng(0 if rng is None else rng)


def _unit_range(values):
    """(values - min) / (max - min); a constant map becomes zero."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def _unit_sum(values):
    """Scaled to [0, 1], then to sum 1; None for a constant map."""
    if values.min() == values.max():
        return None
    scaled = _unit_range(values)
    return scaled / scaled.sum()


def _levels(saliency, step):
    """The highest threshold 0, step, 2 step, ... that each pixel reaches, and the number of thresholds.

    A reference implementation stops at the highest value drawn; thresholds beyond it add the
    point (0, 0) once more, so all images can have the same ones.
    """
    thresholds = np.arange(int(1 / step + 1e-9) + 1) * step
    return np.searchsorted(thresholds, _unit_range(saliency), side="right") - 1, len(thresholds)


def _stepped_area(positives, negatives):
    """Mean area for counts per level: positives (levels,), negatives (levels,) or (splits, levels)."""
    rates = [np.cumsum(counts[..., ::-1], axis=-1) / counts.sum(axis=-1, keepdims=True)
             for counts in (positives, np.atleast_2d(negatives))]
    return _area(rates[0], rates[1])


def _area(true_rate, false_rate):
    """Trapezoids under the points, (0, 0) and (1, 1) added, averaged over leading axes."""
    ends = [(0, 0)] * (np.ndim(false_rate) - 1) + [(1, 1)]
    false_rate = np.pad(np.asarray(false_rate, float), ends, constant_values=(0, 0))
    false_rate[..., -1] = 1
    true_rate = np.concatenate([[0.0], true_rate, [1.0]])
    return float(np.trapz(true_rate, false_rate, axis=-1).mean())
