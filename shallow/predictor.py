"""The shallow net as a Predictor: any image in, a saliency map of its size out."""
from data.runs import read_config
from shallow import preprocess
from shallow import weights as files


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
        read_config(weights, "shallow")
        arrays, _ = files.load(weights)
        from shallow import network
        from shallow.backend import lasagne, tensor, theano

        # 128 or, for iSUN, 64; a file without conv3 is refused by `assign`
        filters = arrays["conv3.b"].size if "conv3.b" in arrays else network.CONV3_FILTERS["salicon"]
        net = network.build(conv3_filters=filters)
        files.assign(network.named_parameters(net), arrays, weights)
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
