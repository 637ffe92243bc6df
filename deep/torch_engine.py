"""PyTorch as an engine of `deep.trainer`, for graphics cards; see `deep.caffe_engine.CaffeEngine` for the interface."""
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from common.errors import UserError
from common.torch_backend import autocast, device_errors, select_device, set_precision, torch
from deep.prototxt import messages, parse_prototxt
from deep.solver import learning_rate
from deep.torch_net import Net
from deep.training_net import SETTING, read_training_net
from deep.weights import read_caffemodel, read_history, read_iteration, write_caffemodel, write_solverstate

distributed = torch.distributed
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

    @device_errors()
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
        # number of this process and number of all, see `deep.torch_workers`
        self.rank, self.processes = (distributed.get_rank(), distributed.get_world_size()) \
            if distributed.is_initialized() else (0, 1)
        self.model = torch.nn.parallel.DistributedDataParallel(self.net) if self.processes > 1 else self.net
        self.in_iteration = False  # True after an error in `step`
        self.history = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.size = sum(parameter.numel() * 4 for parameter in self.parameters)
        self.multipliers = _multipliers(parse_prototxt(prototxt, messages().NetParameter()))
        self.batch_size = read_training_net(prototxt).batch_sizes["TRAIN"]
        self.data = Batches(folder / "train.txt", self.batch_size, self.device, self.rank, self.processes)
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
        if self.processes > 1:
            self._broadcast(True)
        self.in_iteration = True
        result = self._iterate()
        self.in_iteration = False
        return result

    def follow(self):
        """Run one iteration whenever `step` is called in process 0, until it calls `stop_followers`."""
        while self._broadcast(None):
            self._iterate()

    def stop_followers(self):
        """Stop `follow` in the other processes."""
        self._broadcast(False)

    @device_errors()
    def _iterate(self):
        """Run one iteration in this process."""
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

    @device_errors()
    def forward(self, data):
        """Compute the outputs of inputs; both are float32 arrays on the CPU."""
        with torch.no_grad(), autocast(self.device, self.precision):
            return self.net(torch.from_numpy(data).to(self.device)).float().cpu().numpy()

    def save(self, path):
        """Write the weights as a .caffemodel."""
        write_caffemodel(path, self.net.to_arrays())

    def snapshot(self, state, model):
        """Write weights (`model`) and momentum (`state`) in Caffe's formats."""
        self.save(model)
        # Caffe, which counts the steps of "multistep" while it trains, continues with this count
        step = sum(value < self.iteration for value in self.settings.stepvalue)
        write_solverstate(state, self.iteration, [array.cpu().numpy() for array in self.history], model, step)

    def restore(self, state, model):
        """Load a snapshot of this engine or of Caffe."""
        self.net.read(read_caffemodel(model))
        for array, values in zip(self.history, read_history(state), strict=True):
            array.copy_(torch.tensor(values).reshape(array.shape))
        self.iteration = read_iteration(state)
        if self.processes > 1:
            distributed.barrier()  # process 0 may remove the files now

    def skip_batches(self, count):
        """Leave out batches of the training data, as if that many iterations had used them."""
        self.data.skip(count)

    @torch.enable_grad()
    def _loss_and_gradients(self):
        """Compute the loss of the next batch and its gradients, as a tensor and a list of tensors."""
        data, label = self.data.next()
        with autocast(self.device, self.precision):
            output = self.model(data)
        if output.shape != label.shape:
            raise UserError(f"{self.folder / SETTING}: its output has shape {tuple(output.shape)}, but the targets "
                            f"have {tuple(label.shape)}; correct the strides and paddings of its layers")
        loss = ((output.float() - label) ** 2).sum() / (2 * len(data))
        self.net.zero_grad(set_to_none=False)
        loss.backward()  # with several processes, this also averages the gradients over them
        loss = loss.detach()
        if self.processes > 1:
            distributed.all_reduce(loss)
        # Caffe computes no gradient of what it does not train, so it is not part of the norm for clipping either
        return loss / self.processes, [parameter.grad * bool(rate_mult)
                                       for parameter, (rate_mult, _) in zip(self.parameters, self.multipliers)]

    def _broadcast(self, command):
        """Send a command of process 0, True to run an iteration and False to end, to all processes; return it."""
        command = torch.tensor(int(bool(command)), device=self.device)
        distributed.broadcast(command, src=0)
        return bool(command)

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

    def _check_settings(self):
        if self.settings.type not in SOLVERS:
            raise UserError(f"solver type {self.settings.type}: the PyTorch engine has {' and '.join(SOLVERS)}; "
                            "give engine=caffe")
        if self.settings.regularization_type not in ("L1", "L2"):
            raise UserError(f"regularization_type is {self.settings.regularization_type!r}; give L1 or L2")
        if learning_rate(self.settings, 0) is None:
            raise UserError(f"lr_policy is {self.settings.lr_policy!r}, which Caffe does not have; see deep/solver.py")


class Batches:
    """The batches of Caffe's HDF5Data layer: the shards in their order, and again from the first one.

    One shard is in memory at a time, on the device. With several processes, each reads and returns its own images only:
    the first process the first images of every batch, and so on.

    Parameters
    ----------
    listing : path of a text file with one path of a shard per line
    batch_size : int
        Number of images of a whole batch.
    device : torch.device
    rank, processes : int
        Number of this process, from 0, and number of all, which divides the batch size.
    """

    def __init__(self, listing, batch_size, device, rank=0, processes=1):
        self.paths = Path(listing).read_text(encoding="utf-8").splitlines()
        self.batch_size, self.device = batch_size, device
        self.rank, self.own_size = rank, batch_size // processes
        self.shard = self.row = 0
        self.start = 0  # position of the shard's first image in its batch
        self._load()
        self.pixels = self.label[0].numel()

    def next(self):
        """Return the images of this process in the next batch: inputs, (n, 3, h, w), and targets, (n, 1, h, w)."""
        images = []
        for _ in range(self.own_size):
            # copies: views would keep a shard in memory while the next one is read
            images.append((self.data[self.row].clone(), self.label[self.row].clone()))
            self._advance()
        return tuple(torch.stack(arrays) for arrays in zip(*images))

    def skip(self, count):
        """Leave out `count` batches."""
        for _ in range(count * self.own_size):
            self._advance()

    def _advance(self):
        self.row += 1
        if self.row == len(self.data):
            self.row = 0
            if len(self.paths) > 1 or self.own_size < self.batch_size:
                self._next_shard()

    def _next_shard(self):
        self.start = (self.start + self.images) % self.batch_size
        self.shard = (self.shard + 1) % len(self.paths)
        self._load()

    def _load(self):
        """Read the images of this process in the shard; if there are none, in the next one that has some."""
        import h5py

        self.data = self.label = None  # free the memory of the last shard before
        with h5py.File(self.paths[self.shard]) as file:
            self.images = len(file["data"])
            rows = [row for row in range(self.images)
                    if (self.start + row) % self.batch_size // self.own_size == self.rank]
            if rows:
                self.data, self.label = (torch.from_numpy(_read_rows(file[name], rows)).to(self.device)
                                         for name in ("data", "label"))
        if not rows:
            self._next_shard()


def _read_rows(array, rows):
    """Read rows of an HDF5 data set, in one piece if all are read: h5py takes ten times as long for a list of rows."""
    return array[()] if len(rows) == len(array) else np.stack([array[row] for row in rows])


def _multipliers(net):
    """Return (lr_mult, decay_mult) of each parameter, in order."""
    values = []
    for layer in net.layer:
        if layer.type in ("Convolution", "Deconvolution"):
            count = 2 if layer.convolution_param.bias_term else 1
            given = [(param.lr_mult, param.decay_mult) for param in layer.param]
            values += (given + [(1.0, 1.0)] * count)[:count]
    return values
