"""Predict saliency maps with the deep net, on Caffe, OpenCV or PyTorch."""
import numpy as np

from common import predictor
from common.errors import UserError
from common.files import NUMBER
from common.machine import available_memory
from common.runs import read_config
from deep import preprocess
from deep.backend import load_caffe
from deep.prototxt import DEPLOY
from deep.weights import check_weights, net_shapes, read_caffemodel, to_caffemodel

# A CHECK of Caffe fails if an array has 2^31 values or more; conv1's 96 channels have 1.6 10^9 at this size.
LARGEST_SIDE = 4096
# of a config.json; what it lacks has the authors' values
PREDICT = {"longest_side?": int, "mean_bgr?": [NUMBER], "mean_map?": NUMBER, "resizing?": str}
BYTES_PER_PIXEL = 123.65 * 2**20 / (320 * 240)  # of all blobs of the net: Table 1


class Predictor(predictor.Predictor):
    """The deep net with trained weights.

    Parameters
    ----------
    weights : path of a .caffemodel
        The config.json of its run folder, if there is one, sets the defaults of the other parameters; without it, as
        for the authors' weights, the defaults are the authors' values.
    engine : "caffe", "opencv" or "torch"
        Library that runs the net: BVLC Caffe, OpenCV's dnn module on machines without Caffe, or PyTorch. All use the
        same prototxt and weights; their outputs are equal except for rounding.
    device : str or None
        Of the engine "torch", see `common.torch_backend.select_device`.
    longest_side : int, 4 to 4096
        Larger images are shrunk to this, with their aspect ratio; smaller images keep their size (released code: 320).
    mean_bgr : three floats
        Mean pixel of the training set, which is subtracted from the image.
    mean_map : float, grey levels
        Mean of the training maps; used by scaling="consistent".
    scaling : "released" or "consistent"
        Conversion of the net's output to grey levels, see `deep.preprocess.to_saliency`.
    resizing : "released" or "area"
        Resizing of images and outputs: as in the authors' code (default without config.json), or as in our training
        (default with config.json), see `deep.preprocess`.

    Raises
    ------
    UserError
        The engine is not installed, the weights are damaged, diverged or another net's, or a parameter is invalid.
    """

    batch_size = 1

    def __init__(self, weights, engine="caffe", longest_side=None, mean_bgr=None, mean_map=None, scaling="released",
                 resizing=None, device=None):
        config = read_config(weights, "deep", {"predict": PREDICT})
        defaults = {"longest_side": max(preprocess.TRAIN_SIZE), "mean_bgr": preprocess.AUTHORS_MEAN_BGR,
                    "mean_map": preprocess.AUTHORS_MEAN_MAP, "resizing": "area" if config else "released",
                    **config.get("predict", {})}
        self.longest_side = defaults["longest_side"] if longest_side is None else longest_side
        self.mean_bgr = defaults["mean_bgr"] if mean_bgr is None else mean_bgr
        self.mean_map = defaults["mean_map"] if mean_map is None else mean_map
        self.scaling = scaling
        self.resizing = defaults["resizing"] if resizing is None else resizing
        for name, value, choices in (("scaling", scaling, preprocess.SCALINGS), ("engine", engine, tuple(ENGINES)),
                                     ("resizing", self.resizing, preprocess.RESIZINGS)):
            if value not in choices:
                raise UserError(f"{name} {value!r} is not known; give one of: {', '.join(choices)}")
        if not (isinstance(self.longest_side, int) and preprocess.SMALLEST <= self.longest_side <= LARGEST_SIDE):
            raise UserError(f"longest_side must be a whole number of pixels from {preprocess.SMALLEST} to "
                            f"{LARGEST_SIDE}, not {self.longest_side!r}")
        if device and engine != "torch":
            raise UserError(f"engine {engine} has no option device; give engine=torch, or omit device")
        layers, shapes = read_caffemodel(weights), net_shapes(DEPLOY)
        check_weights(layers, shapes, weights)  # Caffe would end the process, OpenCV's errors do not name the fault
        self._most_pixels = 1024 * 1024  # that have been computed; the memory for them is there
        options = {"device": device} if engine == "torch" else {}
        self._engine = ENGINES[engine](weights, {name: layers[name] for name in shapes}, **options)
        # PyTorch reports that a card has too little memory; this machine's is another one
        self._on_card = getattr(self._engine, "on_card", False)

    def preprocess(self, image):
        """Convert an image, uint8 (H, W, 3) RGB, to the net's input, float32 (3, h, w).

        h and w are at least 8, and multiples of 4 unless `resizing` is "released".
        """
        shrunk = preprocess.shrink_image(image, self.longest_side, self.resizing)
        multiple = 1 if self.resizing == "released" else preprocess.STRIDE
        return preprocess.pad(preprocess.to_input(shrunk, self.mean_bgr), multiple)

    def forward(self, batch):
        """Compute the net's outputs, float32 (n, 1, h, w), about [-1, 1], of inputs of one size, float32 (n, 3, h, w).

        h and w must be at least 8. Those of the outputs are the largest multiples of 4 up to them.

        Raises
        ------
        UserError
            There is too little memory for inputs of this size.
        """
        pixels = batch[:, 0].size
        if pixels > self._most_pixels and not self._on_card:
            needed, available = pixels * BYTES_PER_PIXEL, available_memory()
            if needed > available:
                height, width = batch.shape[2:]
                raise UserError(f"an input of {width}x{height} needs {needed / 1e9:.1f} GB of memory, but "
                                f"{available / 1e9:.1f} GB are available; give a smaller longest_side")
            self._most_pixels = pixels
        return self._engine(batch)

    def postprocess(self, output, shape):
        """Convert one output of `forward`, float32 (1, h, w), to a saliency map, float32 `shape` in [0, 1]."""
        width, height = preprocess.fit_size(shape, self.longest_side)
        return preprocess.to_saliency(output[0, :height, :width], shape, self.scaling, self.mean_map, self.resizing)


def _load_with_caffe(_, layers):
    """Load the net into Caffe; return a function from inputs, float32 (n, 3, h, w), to outputs, float32 (n, 1, h, w).

    The weights come from the checked arrays: Caffe would end the process at a damaged file.
    """
    caffe = load_caffe()
    net = caffe.Net(str(DEPLOY), caffe.TEST)
    for name, arrays in layers.items():
        for blob, values in zip(net.params[name], arrays):
            blob.data[...] = values.reshape(blob.data.shape)

    def forward(batch):
        blob = net.blobs["data"]
        if blob.data.shape != batch.shape:
            blob.reshape(*batch.shape)
            net.reshape()
        blob.data[...] = batch
        return np.array(net.forward()["deconv1"])  # a copy: the next call overwrites Caffe's array

    return forward


def _load_with_opencv(weights, layers):
    """Load the net into OpenCV's dnn module; otherwise as `_load_with_caffe`."""
    import cv2

    try:
        net = cv2.dnn.readNetFromCaffe(DEPLOY.read_bytes(), to_caffemodel(layers))
    except cv2.error as error:
        raise UserError(f"{weights}: OpenCV cannot load it ({error.err}); fetch or train it again, or give "
                        "engine=caffe") from error

    def forward(batch):
        net.setInput(batch)
        return net.forward()

    return forward


def _load_with_torch(_, layers, device=None):
    """Load the net into PyTorch; otherwise as `_load_with_caffe`."""
    from common.torch_backend import array_function
    from deep.torch_net import Net

    net = Net(DEPLOY)
    net.read(layers)
    return array_function(net, device)


ENGINES = {"caffe": _load_with_caffe, "opencv": _load_with_opencv, "torch": _load_with_torch}
