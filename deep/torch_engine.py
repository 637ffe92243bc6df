"""PyTorch as an engine of `deep.trainer`, for graphics cards; see `deep.caffe_engine.CaffeEngine` for the interface."""
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from common.errors import UserError
from deep.prototxt import messages, parse_prototxt
from deep.solver import learning_rate
from deep.training_net import SETTING, read_training_net
from deep.weights import read_caffemodel, read_history, read_iteration, write_caffemodel, write_solverstate

try:
    import torch
except ImportError as error:
    raise UserError(f"PyTorch cannot be imported ({error}); run `make torch`, or give engine=caffe") from error

from deep.torch_net import Net  # noqa: E402  it imports torch without a message

PRECISIONS = ("float32", "tf32", "bfloat16")
SOLVERS = ("SGD", "Nesterov")


class TorchEngine:
    """Caffe's solver in PyTorch, at the first iteration of a run.

    The net is that of train_val.prototxt. The update is Caffe's: for each parameter, with its lr_mult and decay_mult,
    history = momentum x history + rate x (gradient + decay x parameter), then parameter -= history. The gradient is the
    mean of those of iter_size batches.

    Parameters
    ----------
    folder : pathlib.Path
        Run folder with solver.prototxt, train_val.prototxt and train.txt.
    device : str or None
        "cpu", "cuda" or "cuda:1"; None selects the first graphics card, or the CPU if there is none.
    precision : "float32", "tf32" or "bfloat16"
        Precision of convolutions on a graphics card; parameters, momentum and sums are float32.

    Raises
    ------
    UserError
        PyTorch is not installed, there is no such card or this PyTorch does not support it, or the solver file has a
        setting that this engine does not have.
    """

    def __init__(self, folder, device=None, precision="float32"):
        self.folder = folder
        self.settings = parse_prototxt(folder / "solver.prototxt", messages().SolverParameter())
        self._check_settings()
        self.device = select_device(device)
        self.precision = precision
        set_precision(precision)
        prototxt = folder / SETTING
        self.net = Net(prototxt, seed=max(0, self.settings.random_seed)).to(self.device)
        self.layers = list(self.net.weights)
        self.shapes = {name: [tuple(value.shape) for value in values] for name, values in self.net.weights.items()}
        self.parameters = [parameter for values in self.net.weights.values() for parameter in values]
        self.history = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.size = sum(parameter.numel() * 4 for parameter in self.parameters)
        self.multipliers = _multipliers(parse_prototxt(prototxt, messages().NetParameter()))
        self.batch_size = read_training_net(prototxt).batch_sizes["TRAIN"]
        self.data = Batches(folder / "train.txt", self.batch_size, self.device)
        self.pixels = self.data.pixels
        self.iteration = 0

    def transplant(self, vgg, rescale_conv1):
        """Copy VGG's first layers, see `deep.surgery.transplant`; return a description of all layers, a list of str."""
        from deep.surgery import transplant

        arrays = self.net.to_arrays()
        report = transplant(SimpleNamespace(params={name: [SimpleNamespace(data=values) for values in layer]
                                                    for name, layer in arrays.items()}), vgg, rescale_conv1,
                            self.folder / SETTING)
        self.net.read(arrays)
        return report

    def step(self):
        """Run one iteration; return the loss and the norms of weights and gradients, as `CaffeEngine.step`."""
        loss, gradients = self._loss_and_gradients()
        count, batches = len(self.layers), self.settings.iter_size
        with torch.no_grad():
            for _ in range(1, batches):
                next_loss, next_gradients = self._loss_and_gradients()
                loss = loss + next_loss
                torch._foreach_add_(gradients, next_gradients)
            gradient_norms = self._norms(gradients)
            self._update(gradients)
            values = torch.stack([loss, *self._norms(self.parameters), *gradient_norms]).tolist()
        self.iteration += 1
        norms = values[1:count + 1] + [norm / batches for norm in values[count + 1:]]
        return values[0] / batches, dict(zip(self.layers, norms[:count])), dict(zip(self.layers, norms[count:]))

    def forward(self, data):
        """Compute the outputs of inputs; both are float32 arrays on the CPU."""
        with torch.no_grad(), self._autocast():
            return self.net(torch.from_numpy(data).to(self.device)).float().cpu().numpy()

    def save(self, path):
        """Write the weights as a .caffemodel."""
        write_caffemodel(path, self.net.to_arrays())

    def snapshot(self, state, model):
        """Write weights (`model`) and momentum (`state`) in Caffe's formats."""
        self.save(model)
        write_solverstate(state, self.iteration, [array.cpu().numpy() for array in self.history], model)

    def restore(self, state, model):
        """Load a snapshot of this engine or of Caffe."""
        self.net.read(read_caffemodel(model))
        for array, values in zip(self.history, read_history(state), strict=True):
            array.copy_(torch.tensor(values).reshape(array.shape))
        self.iteration = read_iteration(state)

    def skip_batches(self, count):
        """Leave out batches of the training data, as if that many iterations had used them."""
        self.data.skip(count)

    @torch.enable_grad()
    def _loss_and_gradients(self):
        """Compute the loss of the next batch and its gradients, as a tensor and a list of tensors."""
        data, label = self.data.next()
        with self._autocast():
            output = self.net(data)
        if output.shape != label.shape:
            raise UserError(f"{self.folder / SETTING}: its output has shape {tuple(output.shape)}, but the targets "
                            f"have {tuple(label.shape)}; correct the strides and paddings of its layers")
        loss = ((output.float() - label) ** 2).sum() / (2 * len(data))
        return loss.detach(), [gradient.clone() for gradient in torch.autograd.grad(loss, self.parameters)]

    def _update(self, gradients):
        """Update the parameters by the sum of the gradients of iter_size batches; overwrites `gradients`."""
        settings, rate = self.settings, learning_rate(self.settings, self.iteration)
        if settings.clip_gradients >= 0:
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
            torch._foreach_mul_(gradients, torch.clamp(settings.clip_gradients / norm, max=1.0))
        if settings.iter_size > 1:  # Caffe, too, clips the sum and divides it then
            torch._foreach_mul_(gradients, 1 / settings.iter_size)
        for gradient, history, parameter, (rate_mult, decay_mult) in zip(
                gradients, self.history, self.parameters, self.multipliers, strict=True):
            decay = settings.weight_decay * decay_mult
            if decay:
                gradient.add_(torch.sign(parameter) if settings.regularization_type == "L1" else parameter, alpha=decay)
            before = history.clone() if settings.type == "Nesterov" else None
            history.mul_(settings.momentum).add_(gradient, alpha=rate * rate_mult)
            if before is None:
                parameter.sub_(history)
            else:
                parameter.sub_((1 + settings.momentum) * history - settings.momentum * before)

    def _norms(self, arrays):
        """Return the Euclidean norms of every layer's weights or gradients, without biases, as tensors."""
        first = np.cumsum([0, *(len(values) for values in self.net.weights.values())])[:-1]
        return [torch.linalg.vector_norm(arrays[index]) for index in first]

    def _autocast(self):
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def _check_settings(self):
        if self.settings.type not in SOLVERS:
            raise UserError(f"solver type {self.settings.type}: the PyTorch engine has {' and '.join(SOLVERS)}; "
                            "give engine=caffe")


class Batches:
    """The batches of Caffe's HDF5Data layer: the shards in their order, and again from the first one.

    One shard is in memory at a time, on the device.

    Parameters
    ----------
    listing : path of a text file with one path of a shard per line
    batch_size : int
    device : torch.device
    """

    def __init__(self, listing, batch_size, device):
        self.paths = Path(listing).read_text(encoding="utf-8").splitlines()
        self.batch_size, self.device = batch_size, device
        self.shard = self.row = 0
        self._load()
        self.pixels = self.label[0].numel()

    def next(self):
        """Return the next batch: inputs, (n, 3, h, w), and targets, (n, 1, h, w)."""
        images = []
        for _ in range(self.batch_size):
            images.append((self.data[self.row], self.label[self.row]))
            self._advance()
        return tuple(torch.stack(arrays) for arrays in zip(*images))

    def skip(self, count):
        """Leave out `count` batches."""
        for _ in range(count * self.batch_size):
            self._advance()

    def _advance(self):
        self.row += 1
        if self.row == len(self.data):
            self.shard, self.row = (self.shard + 1) % len(self.paths), 0
            if len(self.paths) > 1:
                self._load()

    def _load(self):
        import h5py

        with h5py.File(self.paths[self.shard]) as file:
            self.data, self.label = (torch.from_numpy(file[name][()]).to(self.device) for name in ("data", "label"))


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
    if device.type == "cuda":
        if not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
            raise UserError(f"device {name}: PyTorch {torch.__version__} finds {torch.cuda.device_count()} graphics "
                            "cards; check the driver with nvidia-smi, or give another device, such as cpu")
        _check_capability(device)
    return device


def set_precision(precision):
    """Set the precision of convolutions on graphics cards, and algorithms whose results repeat bit for bit."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # otherwise cuBLAS's results differ from run to run
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False  # it selects algorithms by their speed, which differs from run to run
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision != "float32"


def describe_device(device):
    """Describe a device for messages and config.json, such as "cuda:0, NVIDIA H100" or "cpu, 2 threads"."""
    if device.type == "cuda":
        return f"{device}, {torch.cuda.get_device_name(device)}"
    return f"cpu, {torch.get_num_threads()} threads"


def _check_capability(device):
    """Raise UserError if this PyTorch contains no code for a card, neither compiled nor as PTX of an older one."""
    major, minor = torch.cuda.get_device_capability(device)
    supported = [int(name.partition("_")[2].rstrip("af")) for name in torch.cuda.get_arch_list()]
    if supported and 10 * major + minor < min(supported):
        raise UserError(f"{torch.cuda.get_device_name(device)} has compute capability {major}.{minor}, but this "
                        f"PyTorch needs {min(supported) / 10:.1f}; install an older PyTorch, or give device=cpu")


def _multipliers(net):
    """Return (lr_mult, decay_mult) of each parameter, in order."""
    values = []
    for layer in net.layer:
        if layer.type in ("Convolution", "Deconvolution"):
            count = 2 if layer.convolution_param.bias_term else 1
            given = [(param.lr_mult, param.decay_mult) for param in layer.param]
            values += (given + [(1.0, 1.0)] * count)[:count]
    return values

