"""The shallow net as a Predictor: any image in, a saliency map of its size out."""
from shallow import preprocess
from shallow.weights import load_net


class Predictor:
    """Theano with trained weights.

    Parameters
    ----------
    weights : path of an .npz as a run of ours writes

    Raises
    ------
    UserError
        No C++ compiler, or the weights are damaged, diverged or another net's.
    """

    def __init__(self, weights):
        net, _ = load_net(weights)
        from shallow.backend import lasagne, tensor, theano

        images = tensor.tensor4("images")
        self._forward = theano.function([images], lasagne.layers.get_output(net, images, deterministic=True))

    def predict(self, image):
        """Predict where people look.

        Parameters
        ----------
        image : uint8 (H, W, 3), RGB

        Returns
        -------
        float32 (H, W) in [0, 1]
        """
        fed = preprocess.to_input(preprocess.squash_image(image))[None]
        return preprocess.to_saliency(self._forward(fed)[0], image.shape[:2])
