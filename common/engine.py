"""The library that trains a net: the original one, or PyTorch, which can use a graphics card."""
from common.errors import UserError

TORCH = "torch"


def add_arguments(parser, original, title):
    """Add --engine, --device and --precision to a training command; `title` is the full name of the original engine."""
    parser.add_argument("--engine", choices=[original, TORCH], default=original,
                        help=f"library that trains: {title}, or PyTorch, which can use a graphics card (default: "
                             "%(default)s); a run may change its engine when it resumes")
    parser.add_argument("--device", help="device for --engine torch: cpu, cuda or cuda:1 (default: the first graphics "
                                         "card, or cpu)")
    parser.add_argument("--precision", choices=["float32", "tf32", "bfloat16"], default="float32",
                        help="precision of convolutions with --engine torch; tf32 only on a graphics card (default: "
                             "%(default)s)")


def prepare(engine, device=None, precision="float32"):
    """Check that an engine can run with these options.

    Parameters
    ----------
    engine, device, precision : values of the options of `add_arguments`

    Returns
    -------
    (dict, dict)
        Versions for config.json; keyword arguments of the engine's class.

    Raises
    ------
    UserError
        An option does not belong to the engine, or as in `common.torch_backend.prepare`.
    """
    if engine == TORCH:
        from common import torch_backend

        return torch_backend.prepare(device, precision)
    if device or precision != "float32":
        raise UserError("--device and --precision are options of --engine torch; omit them, or give --engine torch")
    return {"engine": engine}, {}
