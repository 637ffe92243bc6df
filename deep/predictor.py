"""The deep net as a Predictor: any image in, a saliency map of its size out."""
import numpy as np

from common.errors import UserError
from common.runs import read_config
from deep import preprocess
from deep.backend import load_caffe
from deep.prototxt import DEPLOY
from deep.weights import check_weights, net_shapes, read_caffemodel

# Beyond 1024x1024, Caffe refuses conv7, whose columns it counts whether they are made or not: more than 2^31 values.
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

    batch_size = 1

    def __init__(self, weights, engine="caffe", longest_side=None, mean_bgr=None, mean_map=None, scaling="released"):
        beside = read_config(weights, "deep").get("predict", {})
        defaults = {"longest_side": max(preprocess.TRAIN_SIZE), "mean_bgr": preprocess.AUTHORS_MEAN_BGR,
                    "mean_map": preprocess.AUTHORS_MEAN_MAP, **beside}
        self.longest_side = defaults["longest_side"] if longest_side is None else longest_side
        self.mean_bgr = defaults["mean_bgr"] if mean_bgr is None else mean_bgr
        self.mean_map = defaults["mean_map"] if mean_map is None else mean_map
        self.scaling = scaling
        for name, value, known in (("scaling", scaling, preprocess.SCALINGS), ("engine", engine, tuple(ENGINES))):
            if value not in known:
                raise UserError(f"{name} {value!r} is not known; give one of: {', '.join(known)}")
        if not (isinstance(self.longest_side, int) and preprocess.SMALLEST <= self.longest_side <= LARGEST_SIDE):
            raise UserError(f"longest_side must be a whole number of pixels from {preprocess.SMALLEST} to "
                            f"{LARGEST_SIDE}, not {self.longest_side!r}")
        layers, shapes = read_caffemodel(weights), net_shapes(DEPLOY)
        check_weights(layers, shapes, weights)  # neither engine fails tidily
        # float32 (n, 3, h, w) -> float32 (n, 1, h, w); h and w multiples of 4
        self.forward = ENGINES[engine](weights, {name: layers[name] for name in shapes})

    def predict(self, image):
        """Predict where people look.

        Parameters
        ----------
        image : uint8 (H, W, 3), RGB

        Returns
        -------
        float32 (H, W) in [0, 1]
        """
        return self.postprocess(self.forward(self.preprocess(image)[None])[0], image.shape[:2])

    def preprocess(self, image):
        """uint8 (H, W, 3) RGB -> float32 (3, h, w), h and w multiples of 4, what `forward` takes."""
        resized = preprocess.resize_image(image, preprocess.fit_size(image.shape[:2], self.longest_side))
        return preprocess.pad(preprocess.to_input(resized, self.mean_bgr))

    def postprocess(self, answer, shape):
        """float32 (1, h, w), an answer of `forward` -> float32 (H, W) in [0, 1], for an image of this shape."""
        width, height = preprocess.fit_size(shape, self.longest_side)
        return preprocess.to_saliency(answer[0, :height, :width], shape, self.scaling, self.mean_map)

    def answer(self, image):
        """What the net itself says, at its own size.

        Parameters
        ----------
        image : uint8 (H, W, 3), RGB

        Returns
        -------
        float32 (h, w), about [-1, 1]
        """
        width, height = preprocess.fit_size(image.shape[:2], self.longest_side)
        return self.forward(self.preprocess(image)[None])[0, 0, :height, :width]


def _caffe(_, layers):
    """float32 (n, 3, h, w) -> float32 (n, 1, h, w), h and w multiples of 4, by BVLC Caffe.

    The weights come from the arrays that were checked: Caffe would end the process over a file that it dislikes.
    """
    caffe = load_caffe()
    net = caffe.Net(str(DEPLOY), caffe.TEST)
    for name, arrays in layers.items():
        for blob, values in zip(net.params[name], arrays):
            blob.data[...] = values.reshape(blob.data.shape)

    def forward(fed):
        blob = net.blobs["data"]
        if blob.data.shape != fed.shape:
            blob.reshape(*fed.shape)
            net.reshape()
        blob.data[...] = fed
        return np.array(net.forward()["deconv"])  # a copy: Caffe's own array is written again next time

    return forward


def _opencv(weights, _):
    """The same by OpenCV."""
    import cv2

    try:
        net = cv2.dnn.readNetFromCaffe(str(DEPLOY), str(weights))
    except cv2.error as error:
        raise UserError(f"{weights}: OpenCV cannot load it ({error.err}); fetch or train it again, or give "
                        "engine=caffe") from error

    def forward(fed):
        net.setInput(fed)
        return net.forward()

    return forward


ENGINES = {"caffe": _caffe, "opencv": _opencv}
