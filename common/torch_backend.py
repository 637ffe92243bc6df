"""PyTorch for the engines of both nets: import, devices, precision, and errors of a device as one line.

    from common.torch_backend import torch
"""
import contextlib
import os

from common.errors import UserError

try:
    import torch
except (ImportError, OSError) as error:  # OSError: a library of CUDA that is missing or damaged
    raise UserError(f"PyTorch cannot be imported ({' '.join(str(error).split())}); run `make torch`, or omit "
                    "engine=torch") from error

PRECISIONS = ("float32", "tf32", "bfloat16")
# parts of PyTorch's messages -> remedy. Errors without one of them are faults of the program and keep their traceback.
REINSTALL = "run `make torch` again, or give device=cpu"
FAULTS = {
    "out of memory": "give smaller batches (batch_size in train_val.prototxt, --batch), smaller images, or device=cpu",
    "can't allocate memory": "close other programs, or give smaller batches or images",
    "no kernel image": "this PyTorch has no code for the card; install a newer PyTorch, or give device=cpu",
    "CUDA": "check the driver with nvidia-smi, or give device=cpu",
    "cuDNN": REINSTALL,
    "CUDNN": REINSTALL,
    "cannot open shared object": REINSTALL,
}


def prepare(device=None, precision="float32"):
    """Check the device of a training run, and report it to the user.

    Parameters
    ----------
    device, precision : as for `select_device` and `set_precision`

    Returns
    -------
    (dict, dict)
        Versions for config.json; "device" and "precision" as keyword arguments of the engine.

    Raises
    ------
    UserError
        As in `select_device`, or the device does not have this precision.
    """
    selected = select_device(device)
    if precision == "tf32" and selected.type == "cpu":
        raise UserError("precision tf32 is for graphics cards, and this run is on the CPU; give float32 (or leave "
                        "PRECISION out), or device=cuda on a machine with a card")
    description = describe_device(selected)
    print(f"PyTorch {torch.__version__} on {description}, {precision}", flush=True)
    return ({"engine": "torch", "torch": torch.__version__, "device": description, "precision": precision},
            {"device": str(selected), "precision": precision})


def select_device(name=None):
    """Return the torch.device of that name; without a name, the first graphics card, or the CPU if there is none.

    Raises
    ------
    UserError
        There is no such device, or the installed PyTorch does not support this card.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device {name!r} is not known; give cpu, cuda or cuda:0") from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device {name!r} is not supported; give cpu, cuda or cuda:0")
    if device.type == "cuda":
        if not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
            raise UserError(f"device {name}: PyTorch {torch.__version__} finds {torch.cuda.device_count()} graphics "
                            "cards; check the driver with nvidia-smi, or give another device, such as cpu")
        _check_capability(device)
    return device


def check_cards(device, count):
    """Raise UserError unless a device, a str such as "cuda", has `count` graphics cards; any number of processes fits
    on "cpu".
    """
    device = torch.device(device)
    if device.index is not None:
        raise UserError(f"device {device} is one card, but there are {count} processes; give device=cuda")
    if device.type == "cuda" and count > torch.cuda.device_count():
        raise UserError(f"{count} processes need {count} graphics cards, but PyTorch finds "
                        f"{torch.cuda.device_count()}; give fewer processes, or device=cpu")


def set_precision(precision):
    """Set the precision of convolutions on graphics cards, and algorithms whose results repeat bit for bit.

    The settings hold for the whole process, so call this in commands, not in libraries.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # otherwise cuBLAS's results differ from run to run
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # it costs time, and all our arrays are written first
    torch.backends.cudnn.benchmark = False  # it selects algorithms by their speed, which differs from run to run
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision != "float32"


def autocast(device, precision):
    """Return a context manager in which convolutions and products have a precision; `device` is a torch.device."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def describe_device(device):
    """Describe a device for messages and config.json, such as "cuda:0, NVIDIA H100" or "cpu, 2 threads"."""
    if device.type == "cuda":
        return f"{device}, {torch.cuda.get_device_name(device)}"
    return f"cpu, {torch.get_num_threads()} threads"


@contextlib.contextmanager
def device_errors():
    """Raise UserError in one line for errors of a device: too little memory, a driver or a library that fails.

    A context manager and a decorator.
    """
    try:
        yield
    except RuntimeError as error:
        text = " ".join(str(error).split())
        if isinstance(error, torch.distributed.DistError):  # another process is lost; this device has no fault
            raise
        remedy = next((remedy for part, remedy in FAULTS.items() if part in text), None)
        if remedy is None:
            raise
        raise UserError(f"PyTorch: {text[:300]}; {remedy}") from error


def array_function(net, device=None):
    """Return a function that computes a net, for prediction.

    Convolutions on a graphics card are in float32 and repeat bit for bit, whatever the settings of the process.

    Parameters
    ----------
    net : torch.nn.Module
        It is moved to the device.
    device : as for `select_device`

    Returns
    -------
    callable
        From a float32 array to the float32 array of the net's outputs. Raises UserError if the device fails. Its
        attribute `on_card` is True if the device is a graphics card.

    Raises
    ------
    UserError
        As in `select_device`, or the device lacks memory.
    """
    device = select_device(device)
    with device_errors():
        net.to(device).eval()

    @device_errors()
    @torch.no_grad()
    def forward(batch):
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            return net(torch.from_numpy(batch).to(device)).cpu().numpy()

    forward.on_card = device.type == "cuda"
    return forward


def _check_capability(device):
    """Raise UserError if this PyTorch contains no code for a card, neither compiled nor as PTX of an older one."""
    major, minor = torch.cuda.get_device_capability(device)
    supported = [int(name.partition("_")[2].rstrip("af")) for name in torch.cuda.get_arch_list()]
    if supported and 10 * major + minor < min(supported):
        raise UserError(f"{torch.cuda.get_device_name(device)} has compute capability {major}.{minor}, but this "
                        f"PyTorch needs {min(supported) / 10:.1f}; install an older PyTorch, or give device=cpu")
