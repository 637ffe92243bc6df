"""Metrics of Tables 3 to 6 and four more, as the MIT saliency benchmark defines them, in float64.

All functions take 2-D arrays of one shape, rows first. `saliency` is the prediction, `density` is the density map,
`fixations` is a fixation map: every pixel above 0 counts once. A prediction of another shape is first resized to the
shape of the ground truth with MATLAB's bicubic `imresize`, as the benchmark does. NaN or infinity in a map raises
ValueError.

To compute several metrics of one image, wrap its arrays once:

    saliency, density, fixations = Map(saliency), Map(density), Fixations(fixation_map)
    cc(saliency, density), similarity(saliency, density), nss(saliency, fixations)

The values that these metrics share (extremes, sums, positions) are then computed once per image, not once per metric.

In the formulas, S is the saliency map, D the density map, and sums run over all pixels.

Source of the definitions: Bylinskii, Judd, Oliva, Torralba, Durand: What do different evaluation metrics ...
(PAMI 2019, arXiv 1604.03605), and the benchmark's code as of 2016-10.
"""
import functools
import sys
from functools import cached_property

import numpy as np

from common.machine import environment
from evaluation.imresize import imresize

TABLE_METRICS = ("SIM", "CC", "AUC-shuffled", "AUC-Borji", "AUC-Judd")  # the columns of Table 3, in its order
METRICS = (*TABLE_METRICS, "NSS", "KL", "IG", "EMD")
SPLITS, STEP = 100, 0.1  # number of random splits and step between thresholds in AUC-Borji and shuffled AUC
JITTER = 1e-7  # upper limit of the noise that breaks ties in AUC-Judd
EPS = 2.0 ** -52  # MATLAB's eps, in KL and IG
EMD_SCALE = 1 / 32  # the benchmark shrinks maps by this factor before the transport
BLOCK = 1 << 15  # pixels per block: a block fits the processor's cache; the size changes scores by rounding only
BUCKETS = 1 << 16  # buckets of AUC-Judd's histogram; results do not depend on the number


class Map:
    """Saliency or density map, checked, with the sums and extremes that several metrics share.

    Parameters
    ----------
    values : (H, W), any real dtype
    name : str
        Name of the map in error messages.

    Raises
    ------
    ValueError
        The array is not 2-D, has no pixel, or contains NaN or infinity.
    """

    def __init__(self, values, name="map"):
        self.values = np.ascontiguousarray(values, np.float64)
        if self.values.ndim != 2 or not self.values.size:
            raise ValueError(f"the {name} must be 2-D with at least one pixel, not of shape {np.shape(values)}")
        self.name, self.shape, self.size = name, self.values.shape, self.values.size
        self.flat = self.values.reshape(-1)
        self.total = float(self.flat.sum())
        if not np.isfinite(self.total):  # any NaN or infinity makes the sum NaN or infinite: one pass checks all
            raise ValueError(f"NaN or infinity in the {name}; predict or load it again")
        self.mean = self.total / self.size

    @cached_property
    def minimum(self):
        """Return the lowest value."""
        return float(self.flat.min())

    @cached_property
    def maximum(self):
        """Return the highest value."""
        return float(self.flat.max())

    @cached_property
    def constant(self):
        """Return True if all pixels are equal."""
        few = self.flat[::max(1, self.size // 64)]  # these usually differ already, which saves a pass over the map
        return bool((few == few[0]).all()) and self.minimum == self.maximum

    @cached_property
    def sum_above_minimum(self):
        """Return sum(S - min S)."""
        return float(sum(block.sum() for block in self.blocks(minus=self.minimum)))

    @cached_property
    def sum_of_squares(self):
        """Return sum((S - mean S)^2)."""
        with np.errstate(over="ignore"):
            return float(sum(deviations @ deviations for deviations in self.blocks(minus=self.mean)))

    def blocks(self, minus=None, times=None):
        """Iterate over the pixels in blocks that fit the cache.

        Parameters
        ----------
        minus, times : float or None
            Subtract the first from the values, then multiply them by the second. None: omit this operation.

        Yields
        ------
        float64 (BLOCK,) or less at the end
            Without `minus` and `times` a view of the map. With one of them a buffer, which the caller may change and
            the next block overwrites: new arrays per block can take five times as long.
        """
        buffer = np.empty(BLOCK)
        for start in range(0, self.size, BLOCK):
            block = self.flat[start:start + BLOCK]
            if minus is not None:
                block = np.subtract(block, minus, out=buffer[:block.size])
            if times is not None:
                block = np.multiply(block, times, out=buffer[:block.size])
            yield block

    def distribution(self):
        """Iterate over (S - min S) / sum(S - min S) in blocks; as `blocks`."""
        return self.blocks(minus=self.minimum, times=1 / self.sum_above_minimum)

    def distribution_at(self, fixations):
        """Return (S - min S) / sum(S - min S) at the fixated pixels, float64 (N,)."""
        return (self.flat[fixations.pixels] - self.minimum) / self.sum_above_minimum

    def to_unit_range(self, values):
        """Scale some values of this map so that its minimum becomes 0 and its maximum 1; 0 for a constant map."""
        return np.zeros(values.shape) if self.constant else (values - self.minimum) / (self.maximum - self.minimum)


class Fixations:
    """Fixated pixels of a fixation map: those above 0.

    Parameters
    ----------
    values : (H, W), bool or any real dtype

    Attributes
    ----------
    pixels : int (N,)
        Indices of the fixated pixels in the flattened map.
    count : int
        N.

    Raises
    ------
    ValueError
        The array is not 2-D, has no pixel, or contains NaN or infinity.
    """

    def __init__(self, values):
        values = np.asarray(values)
        if values.ndim != 2 or not values.size:
            raise ValueError(f"a fixation map must be 2-D with at least one pixel, not of shape {values.shape}")
        if values.dtype.kind == "f" and not np.isfinite(values.sum()):  # as in Map: one pass checks all
            raise ValueError("NaN or infinity in the fixation map; load it again")
        self.shape, self.size = values.shape, values.size
        self.pixels = np.flatnonzero(values if values.dtype == bool else values > 0)
        self.count = self.pixels.size


def similarity(saliency, density):
    """Compute SIM, the intersection of two maps as histograms over the pixels.

    SIM = sum(min(p, q)) with p = (S - min S) / sum(S - min S) and q = (D - min D) / sum(D - min D).

    Scaling to [0, 1] before the division by the sum, as in the benchmark's code, gives the same p and q.

    Parameters
    ----------
    saliency, density : (H, W) or Map

    Returns
    -------
    float in [0, 1]
        0 if a map is zero everywhere, NaN if a map is constant but not zero.
    """
    saliency, density = _maps(saliency, density)
    if _is_zero(saliency) or _is_zero(density):
        return 0.0
    if saliency.constant or density.constant:
        return float("nan")
    saliency = _in_float_range(saliency, saliency.sum_above_minimum)
    density = _in_float_range(density, density.sum_above_minimum)
    return float(sum(np.minimum(p, q, out=p).sum()
                     for p, q in zip(saliency.distribution(), density.distribution())))


def cc(saliency, density):
    """Compute CC, Pearson's correlation coefficient of two maps.

    CC = sum((S - mean S) (D - mean D)) / sqrt(sum((S - mean S)^2)) / sqrt(sum((D - mean D)^2)).

    Parameters
    ----------
    saliency, density : (H, W) or Map

    Returns
    -------
    float in [-1, 1]; NaN if a map is constant
    """
    saliency, density = _maps(saliency, density)
    if saliency.constant or density.constant:
        return float("nan")
    saliency = _in_float_range(saliency, saliency.sum_of_squares)
    density = _in_float_range(density, density.sum_of_squares)
    products = sum(s @ d for s, d in zip(saliency.blocks(minus=saliency.mean), density.blocks(minus=density.mean)))
    return float(products / np.sqrt(saliency.sum_of_squares) / np.sqrt(density.sum_of_squares))


def nss(saliency, fixations, ddof=1):
    """Compute NSS, the normalised scanpath saliency.

    NSS = mean of (S - mean S) / std S over the fixated pixels,
    with std S = sqrt(sum((S - mean S)^2) / (number of pixels - ddof)).

    Parameters
    ----------
    saliency : (H, W) or Map
    fixations : (H, W), fixated where > 0, or Fixations
    ddof : int
        1: the benchmark's standard deviation (MATLAB's); 0: NumPy's.

    Returns
    -------
    float; 0 is chance; NaN without fixations or for a constant map
    """
    saliency, fixations = _map_and_fixations(saliency, fixations)
    if not fixations.count or saliency.constant:
        return float("nan")
    saliency = _in_float_range(saliency, saliency.sum_of_squares)
    deviation = np.sqrt(saliency.sum_of_squares / (saliency.size - ddof))
    return float((saliency.flat[fixations.pixels] - saliency.mean).mean() / deviation)


def kl_divergence(saliency, density):
    """Compute KL, the information lost when the prediction p replaces the ground truth q, in nats.

    KL = sum(q ln(eps + q / (p + eps))) with p = S / sum S and q = D / sum D; no minimum is subtracted.

    Parameters
    ----------
    saliency, density : (H, W) or Map, without negative values
        Cubic weights can make a resized prediction slightly negative; these values are set to 0.

    Returns
    -------
    float >= 0 (except for eps): lower is better
        A map that is zero everywhere stays zero, as in the benchmark: KL is about 36 minus the density's
        entropy for such a prediction, 0 for such a density.

    Raises
    ------
    ValueError
        A map has negative values: it is no distribution, and the benchmark's code returns complex numbers.
    """
    given = saliency if isinstance(saliency, Map) else Map(saliency, "prediction")
    saliency, density = _maps(given, density)
    _check_not_negative(given)
    _check_not_negative(density)
    if saliency is not given:
        saliency = Map(np.maximum(saliency.values, 0), given.name)
    if not density.total:
        return 0.0
    saliency = _in_float_range(saliency, saliency.total)
    density = _in_float_range(density, density.total)
    # numerator and denominator of q / (p + eps) are multiplied by sum D, which saves a division per pixel
    scaled_p, scaled_eps = saliency.blocks(times=density.total / (saliency.total or 1.0)), EPS * density.total
    return float(sum(_weighted_log_ratio(d, p, scaled_eps) for d, p in zip(density.blocks(), scaled_p))
                 / density.total)


def information_gain(saliency, fixations, baseline):
    """Compute IG, how much better than a baseline the map predicts the fixations, in bits per fixation.

    IG = mean of log2(eps + p) - log2(eps + b) over the fixated pixels,
    with p = (S - min S) / sum(S - min S) and b likewise of the baseline.

    Parameters
    ----------
    saliency : (H, W) or Map
    fixations : (H, W), fixated where > 0, or Fixations
    baseline : (H, W) or Map
        Such as the centre prior; resized like a prediction.

    Returns
    -------
    float, bits per fixation; NaN without fixations or if a map is constant
    """
    saliency, fixations = _map_and_fixations(saliency, fixations)
    baseline, _ = _map_and_fixations(baseline, fixations, "baseline")
    if not fixations.count or saliency.constant or baseline.constant:
        return float("nan")
    p, b = saliency.distribution_at(fixations), baseline.distribution_at(fixations)
    return float(np.log2(EPS + p).mean() - np.log2(EPS + b).mean())


def emd(saliency, density):
    """Compute EMD, the least cost of moving the mass of one map so that it becomes the other.

    EMD = minimum of sum(f_ij d_ij) over the flows f_ij >= 0 with sum_j f_ij = p_i and sum_i f_ij = q_j.
    p and q are the maps shrunk by 1/32 with `imresize` and divided by their sums, d_ij is the Euclidean
    distance between bins i and j, in bins. The minimum is exact: network simplex of the POT library.

    Parameters
    ----------
    saliency, density : (H, W) or Map

    Returns
    -------
    float >= 0, in bins (32 pixels); NaN if a shrunken map sums to 0
        Cubic weights can make a bin slightly negative. The cost of transport depends only on the difference
        of the maps and is still defined.
    """
    saliency, density = _maps(saliency, density)
    p, q = imresize(saliency.values, EMD_SCALE), imresize(density.values, EMD_SCALE)
    if not (p.sum() and q.sum()):
        return float("nan")
    # distance is a metric, so mass that both maps have in a bin stays in it at no cost
    surplus = p / p.sum() - q / q.sum()
    sources, sinks = np.argwhere(surplus > 0), np.argwhere(surplus < 0)
    supply, demand = surplus[surplus > 0], -surplus[surplus < 0]
    if not (supply.size and demand.size):
        return 0.0
    distance = np.sqrt(((sources[:, None, :] - sinks[None, :, :]) ** 2).sum(axis=2).astype(np.float64))
    moved = supply.sum()
    cost = _optimal_transport().emd2(supply / moved, demand / demand.sum(), distance, numItermax=10_000_000)
    return float(cost * moved)


@functools.cache
def _optimal_transport():
    """Import POT without PyTorch and other libraries that it loads whenever they are installed.

    PyTorch alone takes two seconds, in each process that scores images. In a program that uses POT with such a library
    itself, import the library before the first call of `emd`: POT then uses it.
    """
    libraries = {"torch": "PYTORCH", "jax": "JAX", "cupy": "CUPY", "tensorflow": "TENSORFLOW"}
    with environment(**{f"POT_BACKEND_DISABLE_{name}": "1" for module, name in libraries.items()
                        if module not in sys.modules}):
        import ot
    return ot


def auc_judd(saliency, fixations, jitter=True, rng=None):
    """Compute AUC-Judd, the area under the ROC curve with the values at the fixations as thresholds.

    With t_i the i-th highest of the values at N fixated pixels:
    true positive rate = i / N,
    false positive rate = (number of pixels with S >= t_i - i) / (number of pixels - N).

    Parameters
    ----------
    saliency : (H, W) or Map
    fixations : (H, W), fixated where > 0, or Fixations
    jitter : bool
        Add uniform noise below 1e-7, so that ties do not lower the score.
    rng : numpy.random.Generator, int, tuple of int or None
        Generator or seed of the noise; None: seed 0.

    Returns
    -------
    float in [0, 1]; NaN without fixations, with every pixel fixated, or for a constant map without jitter
    """
    saliency, fixations = _map_and_fixations(saliency, fixations)
    if fixations.count in (0, saliency.size):
        return float("nan")
    values = _with_noise(saliency, rng) if jitter else saliency.flat.copy()
    minimum, maximum = values.min(), values.max()
    if minimum == maximum:  # without jitter, or with values so large that rounding removes the noise
        return float("nan")
    values -= minimum
    values /= maximum - minimum
    thresholds = np.sort(values[fixations.pixels])[::-1]
    i = np.arange(1, fixations.count + 1)
    true_positive_rate = i / fixations.count
    false_positive_rate = (_count_at_or_above(values, thresholds) - i) / (saliency.size - fixations.count)
    return _area_under_curve(true_positive_rate, false_positive_rate)


def auc_borji(saliency, fixations, splits=SPLITS, step=STEP, rng=None):
    """Compute AUC-Borji, the area under the ROC curve against random pixels of the whole image.

    At the thresholds t = 0, step, 2 step, ... up to 1, with S scaled to [0, 1]:
    true positive rate = fraction of the fixated pixels with S >= t,
    false positive rate = fraction of the random pixels with S >= t.
    A split draws as many pixels as are fixated, with replacement; the score is the mean over the splits.

    Parameters
    ----------
    saliency : (H, W) or Map
    fixations : (H, W), fixated where > 0, or Fixations
    splits : int or None
        Number of splits. None: the expected value, as of infinitely many splits, in closed form.
    step : float
        Step between thresholds.
    rng : numpy.random.Generator, int, tuple of int or None
        Generator or seed of the splits; None: seed 0.

    Returns
    -------
    float in [0, 1]; NaN with fewer than two fixations or with every pixel fixated, 0.5 for a constant map
    """
    saliency, fixations = _map_and_fixations(saliency, fixations)
    if fixations.count <= 1 or fixations.count == saliency.size:
        return float("nan")
    thresholds = _thresholds(step)
    positives = _count_per_level(saliency, thresholds, fixations.pixels)
    # The area is linear in the false positive rate. So the mean over the splits is the area for the pixels of all
    # splits together, and only the number of pixels per level matters.
    draws = None if splits is None else splits * fixations.count
    if draws is not None and draws < saliency.size // 8:  # cheaper than a pass over all pixels
        negatives = _count_per_level(saliency, thresholds, _generator(rng).integers(saliency.size, size=draws))
    else:
        negatives = _count_per_level(saliency, thresholds)
        if draws is not None:
            negatives = _generator(rng).multinomial(draws, negatives / negatives.sum())
    return _area_of_levels(positives, negatives)


def auc_shuffled(saliency, fixations, other_fixations, splits=SPLITS, step=STEP, rng=None):
    """Compute shuffled AUC, the area under the ROC curve against fixations of other images.

    At the thresholds t = 0, step, 2 step, ... up to 1, with S scaled to [0, 1]:
    true positive rate = fraction of the fixated pixels with S >= t,
    false positive rate = fraction of the drawn pixels of `other_fixations` with S >= t.
    This removes the centre bias: a map that only depends on the distance to the centre scores about 0.5.

    Parameters
    ----------
    saliency : (H, W) or Map
    fixations : (H, W), fixated where > 0, or Fixations
    other_fixations : (H, W), fixated where > 0, or Fixations
        Fixations of other images. A split draws as many of them, without replacement, as there
        are fixations, or all if there are fewer. The image's own fixations are not removed.
    splits, step, rng
        As for `auc_borji`.

    Returns
    -------
    float in [0, 1]; NaN with fewer than two fixations, every pixel fixated or no other fixations; 0.5 for a
    constant map

    Raises
    ------
    ValueError
        As for every metric; also if `other_fixations` has another shape than `fixations`.
    """
    saliency, fixations = _map_and_fixations(saliency, fixations)
    others = other_fixations if isinstance(other_fixations, Fixations) else Fixations(other_fixations)
    if others.shape != fixations.shape:
        raise ValueError(f"other_fixations is of shape {others.shape}, fixations of {fixations.shape}; "
                         "scale the other images' fixations to this image first")
    if fixations.count <= 1 or fixations.count == saliency.size or not others.count:
        return float("nan")
    thresholds = _thresholds(step)
    negatives = _count_per_level(saliency, thresholds, others.pixels)
    if splits is not None:
        # only the number of drawn pixels per level matters, which is multivariate hypergeometric
        negatives = _generator(rng).multivariate_hypergeometric(
            negatives, min(fixations.count, others.count), size=splits, method="marginals").sum(axis=0)
    return _area_of_levels(_count_per_level(saliency, thresholds, fixations.pixels), negatives)


def _maps(saliency, density):
    """Convert both to Map; resize the prediction to the density's shape if they differ."""
    density = density if isinstance(density, Map) else Map(density, "ground truth")
    return _resized(saliency, density.shape, "prediction"), density


def _map_and_fixations(saliency, fixations, name="prediction"):
    """Convert to Map and Fixations; resize the map to the fixation map's shape if they differ."""
    fixations = fixations if isinstance(fixations, Fixations) else Fixations(fixations)
    return _resized(saliency, fixations.shape, name), fixations


def _resized(saliency, shape, name):
    saliency = saliency if isinstance(saliency, Map) else Map(saliency, name)
    return saliency if saliency.shape == shape else Map(imresize(saliency.values, shape), name)


def _in_float_range(values, size):
    """Multiply a map by a power of two if `size`, a sum over it, leaves float64's range: no score changes."""
    if values.constant or 1e-280 < size < 1e280:
        return values
    return Map(values.values * (2.0 ** 600 if size < 1 else 2.0 ** -600), values.name)


def _is_zero(values):
    return values.constant and values.minimum == 0


def _check_not_negative(values):
    if values.minimum < 0:
        raise ValueError(f"negative values in the {values.name}, down to {values.minimum:.3g}: KL divergence is of "
                         "distributions; shift or clip the map to 0 and above first")


def _weighted_log_ratio(q, p, eps):
    """Compute sum(q ln(EPS + q / (p + eps))) of a block; overwrites p."""
    p += eps
    ratio = np.divide(q, p, out=p)
    ratio += EPS
    return q @ np.log(ratio, out=ratio)


def _generator(rng):
    return np.random.default_rng(0 if rng is None else rng)


def _with_noise(saliency, rng):
    """Add uniform noise in [0, JITTER) to the pixels of a map."""
    noise = _generator(rng).random(saliency.size)
    noise *= JITTER
    noise += saliency.flat
    return noise


def _count_at_or_above(values, thresholds):
    """Count the values in [0, 1] that are at or above each threshold; the thresholds are some of the values.

    A histogram counts all values except those in the same bucket as a threshold; only these are sorted.
    """
    bucket = np.empty(values.size, np.int64)
    np.multiply(values, BUCKETS, out=bucket, casting="unsafe")
    threshold_bucket = (thresholds * BUCKETS).astype(np.int64)
    has_threshold = np.zeros(BUCKETS + 1, bool)
    has_threshold[threshold_bucket] = True
    counts = np.bincount(bucket, minlength=BUCKETS + 1)
    counts[has_threshold] = 0
    counts_above = np.cumsum(counts[::-1])[::-1]
    close = np.sort(values[has_threshold[bucket]])
    return counts_above[threshold_bucket] + close.size - np.searchsorted(close, thresholds, side="left")


def _thresholds(step):
    """Return the thresholds 0, step, 2 step, ... up to 1.

    The benchmark stops at the highest value drawn; thresholds above it only repeat the point (0, 0).
    """
    if not 0 < step <= 1:
        raise ValueError(f"the step between thresholds must be above 0 and at most 1, not {step}")
    return np.arange(int(1 / step + 1e-9) + 1) * step


def _count_per_level(saliency, thresholds, pixels=None):
    """Count the pixels (all, or those given) per level: the highest threshold that a pixel reaches."""
    at_or_above = np.zeros(thresholds.size + 1, np.int64)
    for values in saliency.blocks() if pixels is None else [saliency.flat[pixels]]:
        scaled = saliency.to_unit_range(values)
        at_or_above[:-1] += [np.count_nonzero(scaled >= threshold) for threshold in thresholds]
    return at_or_above[:-1] - at_or_above[1:]


def _area_of_levels(positives, negatives):
    """Compute the area under the ROC curve from the counts per level."""
    rates = [np.cumsum(counts[::-1]) / counts.sum() for counts in (positives, negatives)]
    return _area_under_curve(*rates)


def _area_under_curve(true_positive_rate, false_positive_rate):
    """Compute the area under a ROC curve by trapezoids; (0, 0) and (1, 1) are added to the points."""
    return float(np.trapz(np.concatenate([[0], true_positive_rate, [1]]),
                          np.concatenate([[0], false_positive_rate, [1]])))
