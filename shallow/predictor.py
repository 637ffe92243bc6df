"""The shallow net as a Predictor: image in, saliency map of the same size out."""
from common import predictor
from common.errors import UserError
from shallow import preprocess
from shallow.weights import load_net


class Predictor(predictor.Predictor):
    """The shallow net with trained weights, on Theano or PyTorch.

    Parameters
    ----------
    weights : path of an .npz, written by a training run or by models.released.shallow
    fit : "squash" or "crop" or None
        How an image becomes 96x96, see `shallow.preprocess`. None uses the value in the settings of the weights.
    smoothing : "paper" or "released" or None
        See `shallow.preprocess.to_saliency`. None uses the value in the settings of the weights.
    engine : "theano" or "torch"
        Library that runs the net.
    device : str or None
        Of the engine "torch", see `common.torch_backend.select_device`.

    Raises
    ------
    UserError
        The engine is not installed, there is no C++ compiler for Theano, the weights are damaged, diverged or another
        net's, or an option has an unknown value.
    """

    batch_size = 32  # many images in one pass take a fifth of the time per image

    def __init__(self, weights, fit=None, smoothing=None, engine="theano", device=None):
        if engine not in ENGINES:
            raise UserError(f"engine {engine!r} is not known; give one of: {', '.join(ENGINES)}")
        if device and engine != "torch":
            raise UserError(f"engine {engine} has no option device; give engine=torch, or omit device")
        net, _, settings = load_net(weights, engine)
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
        self._engine = ENGINES[engine](net, **({"device": device} if engine == "torch" else {}))

    def preprocess(self, image):
        """Convert an image, uint8 (H, W, 3) RGB, to the net's input, float32 (3, 96, 96) in [0, 1]."""
        return preprocess.to_input(self._fit(image))

    def forward(self, batch):
        """Compute the net's outputs, float32 (n, 2304), of inputs float32 (n, 3, 96, 96) in [0, 1]."""
        return self._engine(batch)

    def postprocess(self, output, shape):
        """Convert an output of `forward`, float32 (2304,), to a saliency map, float32 `shape` in [0, 1]."""
        return preprocess.to_saliency(output, shape, self.smoothing, self.target_range)


def _run_with_theano(net):
    """Return a function from inputs, float32 (n, 3, 96, 96), to outputs, float32 (n, 2304).

    Its first call with a single image and its first call with several images each compile a function of their own:
    batch size 1 uses GEMV, which is faster, and no OpenMP, whose threads cost one image more time than they save.
    """
    from shallow.backend import lasagne, tensor, theano

    compiled = {}

    def forward(batch):
        single = len(batch) == 1
        if single not in compiled:
            images = tensor.TensorType("float32", (single, False, False, False))("images")
            with theano.change_flags(openmp=not single):
                compiled[single] = theano.function(
                    [images], lasagne.layers.get_output(net, images, deterministic=True))
        return compiled[single](batch)

    return forward


def _run_with_torch(net, device=None):
    """Return a function as `_run_with_theano` does, of a net of `shallow.torch_net`."""
    from common.torch_backend import array_function

    return array_function(net, device)


ENGINES = {"theano": _run_with_theano, "torch": _run_with_torch}
