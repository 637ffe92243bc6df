"""The deep net as a Predictor: any image in, a saliency map of its size out."""
import numpy as np

from data.errors import UserError
from data.runs import read_config
from deep import preprocess
from deep.backend import DEPLOY, load_caffe
from deep.weights import check_weights, net_shapes, read_caffemodel

# Beyond 1024x1024, Caffe's columns of conv7 would be more than the 2^31 values it can count; that size takes 7 GB.
LARGEST_SIDE = 1024


class Predictor:
    """The deep net with trained weights.

    Parameters
    ----------
    weights : path of a .caffemodel
        A config.json beside it, as our runs write, sets the defaults of the other parameters;
        without one they are the authors'.
    engine : "caffe" or "opencv"
        What runs the net: BVLC Caffe, or OpenCV's dnn module where Caffe cannot be built. Same prototxt,
        same weights, the same answers to rounding.
    longest_side : int, 4 to 1024
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
        The engine is not there, the weights are damaged, diverged or another net's, or a parameter is not known.
    """

    def __init__(self, weights, engine="caffe", longest_side=None, mean_bgr=None, mean_map=None, scaling="released"):
        beside = read_config(weights, "deep").get("predict", {})
        self.longest_side = longest_side or beside.get("longest_side", max(preprocess.TRAIN_SIZE))
        self.mean_bgr = mean_bgr or beside.get("mean_bgr", preprocess.AUTHORS_MEAN_BGR)
        self.mean_map = beside.get("mean_map", preprocess.AUTHORS_MEAN_MAP) if mean_map is None else mean_map
        self.scaling = scaling
        for name, value, known in (("scaling", scaling, preprocess.SCALINGS), ("engine", engine, tuple(ENGINES))):
            if value not in known:
                raise UserError(f"{name} {value!r} is not known; give one of: {', '.join(known)}")
        if not (isinstance(self.longest_side, int) and preprocess.SMALLEST <= self.longest_side <= LARGEST_SIDE):
            raise UserError(f"longest_side must be a whole number of pixels from {preprocess.SMALLEST} to "
                            f"{LARGEST_SIDE}, not {self.longest_side!r}")
        check_weights(read_caffemodel(weights), net_shapes(DEPLOY), weights)  # neither engine fails tidily
        self._forward = ENGINES[engine](weights)

    def predict(self, image):
        """Predict where people look.

        Parameters
        ----------
        image : uint8 (H, W, 3), RGB

        Returns
        -------
        float32 (H, W) in [0, 1]
        """
        return preprocess.to_saliency(self.answer(image), image.shape[:2], self.scaling, self.mean_map)

    def answer(self, image):
        """What the net itself says, at its own size.

        Parameters
        ----------
        image : uint8 (H, W, 3), RGB

        Returns
        -------
        float32 (h, w), about [-1, 1]
        """
        size = preprocess.fit_size(image.shape[:2], self.longest_side)
        fed = preprocess.pad(preprocess.to_input(preprocess.resize_image(image, size), self.mean_bgr))[None]
        return self._forward(fed)[0, 0, :size[1], :size[0]]


def _caffe(weights):
    """float32 (n, 3, h, w) -> float32 (n, 1, h, w), h and w multiples of 4, by BVLC Caffe."""
    caffe = load_caffe()
    net = caffe.Net(str(DEPLOY), caffe.TEST)
    net.copy_from(str(weights))

    def forward(fed):
        blob = net.blobs["data"]
        if blob.data.shape != fed.shape:
            blob.reshape(*fed.shape)
            net.reshape()
        blob.data[...] = fed
        return np.array(net.forward()["deconv"])  # a copy: Caffe's own array is written again next time

    return forward


def _opencv(weights):
    """The same by OpenCV."""
    import cv2

    net = cv2.dnn.readNetFromCaffe(str(DEPLOY), str(weights))

    def forward(fed):
        net.setInput(fed)
        return net.forward()

    return forward


ENGINES = {"caffe": _caffe, "opencv": _opencv}
