"""Shuffled AUC, AUC-Borji and NSS as the SALICON server computes them.

They differ from the MIT benchmark's (evaluation/metrics.py) in this: the AUCs use thresholds in steps of 0.01 and
stop below the highest value; repeated fixations on a pixel count as often as they occur; all negatives are used
at once, without random draws; the standard deviation of NSS has ddof 0. The convention alone changes shuffled AUC
by 0.04, so every table names its convention.

Fixations are maps of counts here: the number of fixations on each pixel; of other images, the number of images that
are fixated at each pixel, since the server marks a pixel once per image.
"""
import numpy as np

from evaluation.metrics import Map

STEP = 0.01


def auc_shuffled(saliency, fixations, other_fixations):
    """Compute shuffled AUC against the fixations of all other images, without the pixels fixated in this image.

    At the thresholds t = 0, 0.01, 0.02, ... below the highest value, with S scaled to [0, 1]:
    true positive rate = fraction of the fixations with S >= t,
    false positive rate = fraction of the other images' fixated pixels with S >= t, a pixel once per image.

    Parameters
    ----------
    saliency : (H, W) or metrics.Map
    fixations : (H, W), number of fixations on each pixel
    other_fixations : (H, W), number of other images that are fixated at each pixel

    Returns
    -------
    float in [0, 1]; NaN without fixations or without other fixations; 0.5 for a constant map
    """
    fixations, others = np.asarray(fixations), np.asarray(other_fixations)
    return _area_under_curve(_map(saliency, fixations), fixations, np.where(fixations > 0, 0, others))


def auc_borji(saliency, fixations):
    """Compute AUC-Borji with every pixel as a negative: the expected value of the server's 100,000 random pixels.

    Formula, parameters and result as for `auc_shuffled`.
    """
    return _area_under_curve(_map(saliency, fixations), np.asarray(fixations), np.ones(np.shape(fixations)))


def nss(saliency, fixations):
    """Compute NSS = mean of (S - mean S) / std S over the fixations, with ddof 0 in std S.

    Parameters as for `auc_shuffled`; NaN without fixations or for a constant map.
    """
    saliency, counts = _map(saliency, fixations), np.asarray(fixations).ravel()
    if saliency.constant or not counts.any():
        return float("nan")
    deviation = np.sqrt(saliency.sum_of_squares / saliency.size)
    return float(((saliency.flat - saliency.mean) @ counts) / counts.sum() / deviation)


def _map(saliency, fixations):
    saliency = saliency if isinstance(saliency, Map) else Map(saliency, "prediction")
    if saliency.shape != np.shape(fixations):
        raise ValueError(f"the prediction is of shape {saliency.shape}, the fixations of {np.shape(fixations)}; "
                         "resize the prediction first")
    return saliency


def _area_under_curve(saliency, positives, negatives):
    """Compute the area under the ROC curve from the numbers of positives and negatives on each pixel."""
    positives, negatives = positives.ravel(), negatives.ravel()
    if not (positives.any() and negatives.any()):
        return float("nan")
    scaled = saliency.to_unit_range(saliency.flat)
    maximum = scaled[(positives > 0) | (negatives > 0)].max()
    thresholds = np.arange(0, maximum, STEP)  # without the maximum, as in the server's code
    rates = []
    for counts in (positives, negatives):
        pixels = np.flatnonzero(counts)
        level = np.searchsorted(thresholds, scaled[pixels], side="right")  # number of thresholds that a pixel reaches
        counts_per_level = np.bincount(level, weights=counts[pixels], minlength=thresholds.size + 1)
        at_or_above = np.cumsum(counts_per_level[::-1])[:-1]  # from the highest threshold down
        rates.append(np.concatenate([[0], at_or_above / counts.sum(), [1]]))
    return float(np.trapz(*rates))
