"""Peers: other libraries that do the same tasks, in processes and environments of their own."""
import importlib.util
import statistics
import subprocess

from bench.timing import seconds_of_each
from common.errors import UserError

LAYOUTS = ("contiguous", "channels_last")  # PyTorch's memory layouts, as in bench/peers/serve.py


def has_torch_engine():
    """Return True if this environment has PyTorch, for our own engine in PyTorch; report it if not."""
    if importlib.util.find_spec("torch") is None:
        print("our engine in PyTorch is left out: it is not installed; run `make torch` to include it", flush=True)
        return False
    return True


class Peer:
    """Process that runs a module of bench/peers and replies to each line of text with a line of numbers.

    Parameters
    ----------
    python : path
        Python interpreter of the peer's environment.
    name : str
        Name of a module in bench/peers.
    *arguments
        Arguments of the module.

    Raises
    ------
    UserError
        The interpreter cannot be run.
    """

    def __init__(self, python, name, *arguments):
        self.name = name
        try:
            self._process = subprocess.Popen([python, "-m", f"bench.peers.{name}", *map(str, arguments)], text=True,
                                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except OSError as error:
            raise UserError(f"{python}: cannot be run ({error.strerror}); `make bench` installs it") from error

    def ask(self, *words):
        """Send one line and wait for the reply.

        Returns
        -------
        list of float

        Raises
        ------
        UserError
            The peer has stopped.
        """
        try:
            self._process.stdin.write(" ".join(map(str, words)) + "\n")
            self._process.stdin.flush()
            reply = self._process.stdout.readline().split()
        except OSError:
            reply = []
        if not reply:
            raise UserError(f"bench/peers/{self.name}.py: stopped (its message is above); "
                            "delete build/bench and run make bench")
        return list(map(float, reply))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait()


def check_outputs(peer, batch, expected, tolerance):
    """Compare PyTorch's outputs and losses with ours, in both memory layouts.

    Parameters
    ----------
    peer : Peer
    batch : int
    expected : dict of str: list of float
        By engine: the mean output, and the losses before two successive updates.
    tolerance : float
        Largest relative difference.

    Raises
    ------
    UserError
        The values differ.
    """
    import numpy as np

    for layout in LAYOUTS:
        values = peer.ask(f"{layout}:check", batch, 1)
        for engine, ours in expected.items():
            if not np.allclose(ours, values, rtol=tolerance):
                raise UserError(f"bench/peers/{peer.name}.py: mean output and two losses are {values}, but {ours} with "
                                f"{engine}; correct the network there")


def take_turns(tasks, engines, peer, rounds, bar):
    """Time tasks with our engines and with PyTorch, in turns.

    The value of a round is its fastest repeat, the result is the median of the rounds.

    Parameters
    ----------
    tasks : iterable of (str, str, int, int, float)
        Name, method ("train" or "predict"), images, repeats per round, and the goal: the highest ratio to PyTorch.
    engines : dict of str: dict of str: callable
        By method and engine: a function of the number of images. The first engine of a method is the one compared.
    peer : Peer
    rounds : int
    bar : tqdm.tqdm
        Progress bar, advanced by one per round.

    Returns
    -------
    list of dict
        Per task: "task", seconds by engine, "pytorch" (seconds of the faster layout), "pytorch_layouts" (seconds by
        layout), "ratio" (of the first engine to PyTorch), "goal".
    """
    rows = []
    for task, method, batch, repeats, goal in tasks:
        calls = engines[method]
        times = {name: [] for name in (*calls, *LAYOUTS)}
        for _ in range(rounds):
            for engine, call in calls.items():
                times[engine].append(min(seconds_of_each(lambda call=call: call(batch), repeats)))  # noqa: B023  called at once
            for layout in LAYOUTS:
                times[layout].append(min(peer.ask(f"{layout}:{method}", batch, repeats)))
            bar.update()
        seconds = {name: statistics.median(values) for name, values in times.items()}
        layouts = {layout: seconds.pop(layout) for layout in LAYOUTS}
        pytorch = min(layouts.values())
        rows.append({"task": task, **seconds, "pytorch": pytorch, "pytorch_layouts": layouts,
                     "ratio": seconds[next(iter(calls))] / pytorch, "goal": goal})
    return rows
