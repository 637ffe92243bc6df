"""The two scoring conventions: the MIT saliency benchmark's and the SALICON server's.

They differ in three metrics (shuffled AUC, AUC-Borji, NSS) and in the negatives of shuffled AUC. All other metrics
are the same (evaluation/metrics.py).
"""
import abc

from evaluation import metrics, salicon
from evaluation.negatives import count_all_fixations, count_fixations, count_other_fixations, mark_other_fixations


class Convention(abc.ABC):
    """Rules for the metrics in which two benchmarks differ. Objects hold no data, so workers receive them cheaply.

    Attributes
    ----------
    name : str
        Value of `--convention`, and the name in score files and captions.
    """

    name = None

    @abc.abstractmethod
    def prepare(self, dataset):
        """Prepare the source from which `make_negatives` takes the negatives of any image; called once per data set.

        Parameters
        ----------
        dataset : data.dataset.Dataset

        Returns
        -------
        picklable object
        """

    @abc.abstractmethod
    def make_negatives(self, source, index, sample, seed):
        """Return the negatives of shuffled AUC for an image.

        Parameters
        ----------
        source : object
            Result of `prepare`.
        index : int
            Position of the image in the data set.
        sample : data.dataset.Sample
        seed : int

        Returns
        -------
        (H, W), as `compute_scores` takes it
        """

    @abc.abstractmethod
    def compute_scores(self, saliency, *, points, fixations, negatives, seed):
        """Compute the three metrics of one map.

        Parameters
        ----------
        saliency : metrics.Map
        points : float (N, 2), (x, y), inside the frame
            All fixations.
        fixations : metrics.Fixations
            Pixels of `points`.
        negatives : (H, W)
            Result of `make_negatives`.
        seed : int or tuple of int

        Returns
        -------
        dict of float: "AUC-shuffled", "AUC-Borji", "NSS"
        """


class MIT(Convention):
    """MIT saliency benchmark: fixations of 10 random other images are the negatives; a fixated pixel counts once."""

    name = "mit"

    def prepare(self, dataset):
        """Return the data set itself: each image has its own random images."""
        return dataset

    def make_negatives(self, source, index, sample, seed):
        """Return the fixation map of random other images, bool (H, W)."""
        return mark_other_fixations(source, index, seed)

    def compute_scores(self, saliency, *, points, fixations, negatives, seed):
        """Compute shuffled AUC, AUC-Borji and NSS of evaluation/metrics.py."""
        return {"AUC-shuffled": metrics.auc_shuffled(saliency, fixations, negatives, rng=seed),
                "AUC-Borji": metrics.auc_borji(saliency, fixations, rng=seed),
                "NSS": metrics.nss(saliency, fixations)}


class SALICON(Convention):
    """SALICON server: fixations of all other images are the negatives; every fixation counts."""

    name = "salicon"

    def prepare(self, dataset):
        """Count the fixations of all images, int (H, W)."""
        return count_all_fixations(dataset)

    def make_negatives(self, source, index, sample, seed):
        """Return the number of fixations of all other images on each pixel, int (H, W)."""
        return count_other_fixations(source, sample)

    def compute_scores(self, saliency, *, points, fixations, negatives, seed):
        """Compute shuffled AUC, AUC-Borji and NSS of evaluation/salicon.py."""
        counts = count_fixations(points, saliency.shape)
        return {"AUC-shuffled": salicon.auc_shuffled(saliency, counts, negatives),
                "AUC-Borji": salicon.auc_borji(saliency, counts), "NSS": salicon.nss(saliency, counts)}


CONVENTIONS = {convention.name: convention for convention in (MIT(), SALICON())}
