"""Trained weights and their use: `load` gives a Predictor of either net."""
import inspect

from common.errors import UserError

NETS = ("shallow", "deep")


def load(net, weights, **options):
    """Open a trained net.

    Parameters
    ----------
    net : "shallow" or "deep"
    weights : path
        An .npz for the shallow net, a .caffemodel for the deep one.
    **options
        Of that net's Predictor.

    Returns
    -------
    Predictor
        `.predict(image uint8 (H, W, 3) RGB) -> float32 (H, W)` in [0, 1].

    Raises
    ------
    UserError
        There is no such net, its weights or its engine cannot be loaded, or an option is not known.
    """
    if net == "shallow":
        from shallow.predictor import Predictor
    elif net == "deep":
        from deep.predictor import Predictor
    else:
        raise UserError(f"there is no net {net!r}; choose one of: {', '.join(NETS)}")
    known = [name for name in inspect.signature(Predictor).parameters if name != "weights"]
    for name in options:
        if name not in known:
            raise UserError(f"the {net} net has no option {name!r}; choose from: {', '.join(known)}")
    return Predictor(weights, **options)


def as_pysaliency(net, weights, cache=True, **options):
    """A trained net as a model of pysaliency, to be scored and compared by that library.

    Parameters
    ----------
    net, weights, **options : as for `load`
    cache : bool
        Keep the maps in memory, as pysaliency's models do.

    Returns
    -------
    pysaliency.SaliencyMapModel

    Raises
    ------
    UserError
        pysaliency is not installed, or as for `load`.
    """
    try:
        from pysaliency import SaliencyMapModel
    except ImportError as error:
        raise UserError(f"pysaliency cannot be imported ({error}); install it, and PyTorch, which it wants, with pip") \
            from error
    import numpy as np

    predictor = load(net, weights, **options)

    class Net(SaliencyMapModel):
        def _saliency_map(self, stimulus):
            image = np.asarray(stimulus, np.uint8)
            return predictor.predict(image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2))

    return Net(caching=cache)
