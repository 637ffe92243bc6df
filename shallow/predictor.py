"""The shallow net as a Predictor: any image in, a saliency map of its size out."""
import numpy as np

from common.errors import UserError
from shallow import preprocess
from shallow.weights import load_net


class Predictor:
    """Theano with trained weights.

    Parameters
    ----------
    weights : path of an .npz as a run of ours writes, or models.released.shallow makes
    fit : "squash" or "crop" or None
        How an image becomes 96x96, see `shallow.preprocess`; None takes what the weights were made
        for, as their settings say.
    smoothing : "paper" or "released" or None
        See `shallow.preprocess.to_saliency`; None likewise.

    Raises
    ------
    UserError
        No C++ compiler, or the weights are damaged, diverged or another net's.
    """

    batch_size = 32

    def __init__(self, weights, fit=None, smoothing=None):
        self._net, _, settings = load_net(weights)
        fit = fit or settings.get("fit", "squash")
        self.smoothing = smoothing or settings.get("smoothing", "paper")
        try:
            low, high = (float(end) for end in settings.get("target_range", (0.0, 1.0)))
        except (TypeError, ValueError) as error:
            raise UserError(f"{weights}: its settings give no range of maps ({error}); give the weights.npz of a run") \
                from error
        self.target_range = low, high
        for name, value, known in (("fit", fit, preprocess.FITS), ("smoothing", self.smoothing, preprocess.SMOOTHINGS)):
            if value not in known:
                raise UserError(f"{weights}: {name} {value!r} is not known; give one of: {', '.join(known)}")
        self._fit = {"squash": preprocess.squash_image, "crop": preprocess.crop_image}[fit]
        self._compiled = {}

    def predict(self, image):
        """Predict where people look.

        Parameters
        ----------
        image : uint8 (H, W, 3), RGB

        Returns
        -------
        float32 (H, W) in [0, 1]
        """
        return self.predict_batch([image])[0]

    def predict_batch(self, images):
        """Predict several images in one pass of the net, which takes a fifth of the time an image.

        Parameters
        ----------
        images : list of uint8 (H, W, 3), RGB
            Their sizes may differ.

        Returns
        -------
        list of float32 (H, W) in [0, 1]
        """
        answers = self.forward(np.stack([self.preprocess(image) for image in images]))
        return [self.postprocess(answer, image.shape[:2]) for answer, image in zip(answers, images)]

    def preprocess(self, image):
        """uint8 (H, W, 3) RGB -> float32 (3, 96, 96) in [0, 1], what `forward` takes a batch of."""
        return preprocess.to_input(self._fit(image))

    def postprocess(self, answer, shape):
        """float32 (2304,), an answer of `forward` -> float32 (H, W) in [0, 1], for an image of this shape."""
        return preprocess.to_saliency(answer, shape, self.smoothing, self.target_range)

    def forward(self, fed):
        """What the net answers to images of its own size: float32 (n, 3, 96, 96) in [0, 1] -> float32 (n, 2304).

        Compiled when first asked for, once for single images and once for more: a product with one row is
        another, quicker, function of the matrix library, and sharing one image out costs more than it brings.
        """
        from shallow.backend import lasagne, tensor, theano

        single = len(fed) == 1
        if single not in self._compiled:
            images = tensor.TensorType("float32", (single, False, False, False))("images")
            with theano.change_flags(openmp=not single):
                self._compiled[single] = theano.function(
                    [images], lasagne.layers.get_output(self._net, images, deterministic=True))
        return self._compiled[single](fed)
