"""The contract of a trained net: image in, saliency map out."""
import abc


class Predictor(abc.ABC):
    """A trained net. A subclass implements `preprocess`, `forward` and `postprocess`.

    Attributes
    ----------
    batch_size : int
        Fastest number of images per call of `forward`; 1 for a net that accepts images of any size.
    """

    batch_size = 1

    @abc.abstractmethod
    def preprocess(self, image):
        """Convert an image, uint8 (H, W, 3) RGB, to the net's input, float32 (channels, h, w)."""

    @abc.abstractmethod
    def forward(self, batch):
        """Compute the net's outputs, float32 (n, ...), for a batch of inputs, float32 (n, channels, h, w)."""

    @abc.abstractmethod
    def postprocess(self, output, shape):
        """Convert one output of `forward` to a saliency map, float32 in [0, 1], of the image's `shape`, (H, W)."""

    def predict(self, image):
        """Predict the saliency map of an image.

        Parameters
        ----------
        image : uint8 (H, W, 3), RGB

        Returns
        -------
        float32 (H, W) in [0, 1]
        """
        return self.postprocess(self.forward(self.preprocess(image)[None])[0], image.shape[:2])
