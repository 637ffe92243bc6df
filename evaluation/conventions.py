"""The two scoring conventions: the MIT saliency benchmark's and the SALICON server's.

They differ in AUC-Borji, NSS and shuffled AUC; for shuffled AUC, the negatives differ too. The other six metrics are
the same (evaluation/metrics.py).
"""
import abc

from evaluation import metrics, salicon
from evaluation.negatives import count_all_fixations, count_fixations, count_other_fixations, mark_other_fixations


class Convention(abc.ABC):
    """Definition of the metrics that differ between the two benchmarks.

    Instances have no data, so sending them to worker processes is cheap.

    Attributes
    ----------
    name : str
        Value of `--convention`, and the name in score files and captions.
    """

    name = None

    @abc.abstractmethod
    def prepare(self, dataset):
        """Return the data that `make_negatives` needs for all images; called once per data set.

        Parameters
        ----------
        dataset : data.dataset.Dataset

        Returns
        -------
        picklable object
        """

    @abc.abstractmethod
    def make_negatives(self, source, index, sample, seed):
        """Return the negatives of shuffled AUC for an image: fixations on other images.

        Parameters
        ----------
        source : object
            Result of `prepare`.
        index : int
            Position of the image in the data set.
        sample : data.dataset.Sample
        seed : int
            Seed of the data set; `index` makes it different for each image.

        Returns
        -------
        array (H, W), passed to `compute_scores` as `negatives`
        """

    @abc.abstractmethod
    def compute_scores(self, saliency, *, points, fixations, negatives, seed):
        """Compute shuffled AUC, AUC-Borji and NSS of one saliency map.

        Parameters
        ----------
        saliency : metrics.Map
        points : float (N, 2), (x, y), inside the frame
            All fixations.
        fixations : metrics.Fixations
            The fixated pixels, computed from `points`.
        negatives : (H, W)
            Result of `make_negatives`.
        seed : int or tuple of int
            Seed of this image.

        Returns
        -------
        dict of str: float, with the keys "AUC-shuffled", "AUC-Borji" and "NSS"
        """


class MIT(Convention):
    """MIT saliency benchmark: fixations of 10 random other images are the negatives; a fixated pixel counts
    once, even with several fixations.
    """

    name = "mit"

    def prepare(self, dataset):
        """Return the data set itself, because other images are drawn at random for each image."""
        return dataset

    def make_negatives(self, source, index, sample, seed):
        """Return the fixation map of random other images, bool (H, W)."""
        return mark_other_fixations(source, index, seed)

    def compute_scores(self, saliency, *, points, fixations, negatives, seed):
        """Compute shuffled AUC, AUC-Borji and NSS as defined in evaluation/metrics.py."""
        return {"AUC-shuffled": metrics.auc_shuffled(saliency, fixations, negatives, rng=seed),
                "AUC-Borji": metrics.auc_borji(saliency, fixations, rng=seed),
                "NSS": metrics.nss(saliency, fixations)}


class SALICON(Convention):
    """SALICON server: fixations of all other images are the negatives, a pixel counts once per image; several
    fixations of the scored image on one pixel are counted separately.
    """

    name = "salicon"

    def prepare(self, dataset):
        """Return the number of images that are fixated at each pixel, int (H, W)."""
        return count_all_fixations(dataset)

    def make_negatives(self, source, index, sample, seed):
        """Return the number of other images that are fixated at each pixel, int (H, W)."""
        return count_other_fixations(source, sample)

    def compute_scores(self, saliency, *, points, fixations, negatives, seed):
        """Compute shuffled AUC, AUC-Borji and NSS as defined in evaluation/salicon.py."""
        counts = count_fixations(points, saliency.shape)
        return {"AUC-shuffled": salicon.auc_shuffled(saliency, counts, negatives),
                "AUC-Borji": salicon.auc_borji(saliency, counts), "NSS": salicon.nss(saliency, counts)}


CONVENTIONS = {convention.name: convention for convention in (MIT(), SALICON())}
