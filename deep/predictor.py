"""The deep net as a Predictor: any image in, a saliency map of its size out."""
import numpy as np

from data.errors import UserError
from data.runs import read_config
from deep import preprocess
from deep.backend import DEPLOY, load_caffe
from deep.weights import check_weights, net_shapes, read_caffemodel


class Predictor:
    """Caffe with trained weights.

    Parameters
    ----------
    weights : path of a .caffemodel
        A config.json beside it, as our runs write, sets the defaults of the other parameters;
        without one they are the authors'.
    longest_side : int
        Images are shrunk to fit this, keeping their aspect; never enlarged (released code: 320).
    mean_bgr : three floats
        Mean pixel of the training set, taken off the image.
    mean_map : float, grey levels
        Mean of the training maps; used by scaling="consistent".
    scaling : "released" or "consistent"
        How the net's answer becomes grey levels, see `deep.preprocess.to_saliency`.

    Raises
    ------
    UserError
        Caffe is not there, the weights are damaged, diverged or another net's, or a parameter is not known.
    """

    def __init__(self, weights, longest_side=None, mean_bgr=None, mean_map=None, scaling="released"):
        caffe = load_caffe()
        beside = read_config(weights, "deep").get("predict", {})
        self.longest_side = longest_side or beside.get("longest_side", max(preprocess.TRAIN_SIZE))
        self.mean_bgr = mean_bgr or beside.get("mean_bgr", preprocess.AUTHORS_MEAN_BGR)
        self.mean_map = beside.get("mean_map", preprocess.AUTHORS_MEAN_MAP) if mean_map is None else mean_map
        self.scaling = scaling
        if scaling not in preprocess.SCALINGS:
            raise UserError(f"scaling {scaling!r} is not known; give one of: {', '.join(preprocess.SCALINGS)}")
        if not (isinstance(self.longest_side, int) and self.longest_side >= preprocess.SMALLEST):
            raise UserError(f"longest_side must be a whole number of at least {preprocess.SMALLEST} pixels, "
                            f"not {self.longest_side!r}")
        self.net = caffe.Net(str(DEPLOY), caffe.TEST)
        check_weights(read_caffemodel(weights), net_shapes(self.net), weights)
        self.net.copy_from(str(weights))

    def predict(self, image):
        """Predict where people look.

        Parameters
        ----------
        image : uint8 (H, W, 3), RGB

        Returns
        -------
        float32 (H, W) in [0, 1]
        """
        size = preprocess.fit_size(image.shape[:2], self.longest_side)
        fed = preprocess.pad(preprocess.to_input(preprocess.resize_image(image, size), self.mean_bgr))[None]
        blob = self.net.blobs["data"]
        if blob.data.shape != fed.shape:
            blob.reshape(*fed.shape)
            self.net.reshape()
        blob.data[...] = fed
        answer = np.array(self.net.forward()["deconv"][0, 0, :size[1], :size[0]])
        return preprocess.to_saliency(answer, image.shape[:2], self.scaling, self.mean_map)
