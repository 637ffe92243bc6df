"""Training of the deep net by several PyTorch processes, such as one per graphics card.

PyTorch's own launcher, which is also that of torchrun, starts one process `python -m deep.torch_workers` per card and
starts all of them again if one ends early; they then resume from the newest snapshot. Each process reads its own part
of every batch and computes its gradient; DistributedDataParallel averages the gradients. Process 0 runs the loop of
`deep.trainer`, writes all files and stops the others at the end. The other processes do one iteration whenever process
0 begins one.
"""
import contextlib
import datetime
import json
import logging
import os
import signal
import sys
import tempfile
import traceback
from pathlib import Path

from common import STOPPED
from common.arguments import Parser
from common.errors import Terminated, UserError, os_error_message
from common.files import write_text
from common.machine import count_cores, end_with_parent
from deep.backend import redirect_messages
from deep.trainer import WEIGHTS

RESTARTS = 3
SECONDS_TO_STOP = 600  # until processes that have not ended after Ctrl-C are killed; a snapshot may take long
LOG = "torch.log"  # in the run folder: messages of all processes
FAULT = "fault.txt"  # in the run folder: an error that the user can correct
# of a process that waits for another: validation takes long, and the launcher notices a lost process
PATIENCE = datetime.timedelta(days=1)


def launch(folder, processes, vgg, rescale_conv1, options):
    """Train a run folder to the end with several processes.

    Parameters
    ----------
    folder : pathlib.Path
    processes : int
    vgg, rescale_conv1, options : as for `deep.trainer.train`

    Raises
    ------
    UserError
        A process has raised one, or the processes have failed more than RESTARTS times.
    KeyboardInterrupt
        A signal arrived; a snapshot is written.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    (folder / FAULT).unlink(missing_ok=True)
    _log_launcher(folder / LOG)
    arguments = json.dumps([str(folder), vgg, rescale_conv1, options])
    handlers = {number: signal.getsignal(number) for number in STOPPED}  # the launcher has its own
    ended = None
    try:
        with tempfile.TemporaryDirectory() as scratch:  # the launcher would leave files in /tmp
            config = LaunchConfig(1, 1, processes, logs_specs=DefaultLogsSpecs(scratch), run_id="deep",
                                  rdzv_backend="c10d", rdzv_endpoint="localhost:0", local_addr="localhost",
                                  max_restarts=RESTARTS, shutdown_timeout=SECONDS_TO_STOP)
            elastic_launch(config, sys.executable)("-m", "deep.torch_workers", arguments)
    except SignalException as error:
        ended = Terminated() if error.sigval == signal.SIGTERM else KeyboardInterrupt()
    except ChildFailedError:
        ended = UserError(f"{folder / LOG}: the training processes failed {RESTARTS + 1} times; see the last error "
                          "there, then run the same command again")
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if (folder / FAULT).is_file():  # also after a signal: the snapshot that it asked for may have failed
        fault = (folder / FAULT).read_text(encoding="utf-8")
        (folder / FAULT).unlink()
        raise UserError(fault)
    if ended:
        raise ended


def main():
    """Run one of the processes; return its exit code."""
    parser = Parser("deep.torch_workers", __doc__)
    parser.add_argument("arguments", metavar="JSON", help="arguments of deep.train --nproc, which starts this command")
    folder, vgg, rescale_conv1, options = json.loads(parser.parse_args().arguments)
    folder, rank = Path(folder), int(os.environ["RANK"])
    for number in STOPPED:
        signal.signal(number, signal.SIG_DFL)  # the command reports them
    end_with_parent()
    redirect_messages(folder / LOG)
    # the launcher has started all processes again, but none can run, or only the end of the last attempt failed
    if (folder / FAULT).is_file() or (folder / WEIGHTS).is_file():
        return 0
    if rank == 0 and (restart := int(os.environ["TORCHELASTIC_RESTART_COUNT"])):
        print(f"\nwarning: a training process ended early; all start again from the newest snapshot ({restart} of "
              f"{RESTARTS} times; see {folder / LOG})", file=sys.stderr, flush=True)
    try:
        _train(folder, rank, vgg, rescale_conv1, options)
    except (UserError, OSError) as error:
        write_text(folder / FAULT, os_error_message(error) if isinstance(error, OSError) else str(error))
        return 1
    except KeyboardInterrupt:
        return 1  # the launcher has the same signal, and reports it
    except Exception:  # such as a lost connection: the launcher starts all processes again
        os.write(2, traceback.format_exc().encode())
        return 1
    return 0


def _train(folder, rank, vgg, rescale_conv1, options):
    """Join the other processes, and train; `rank` is the number of this process."""
    from common.torch_backend import torch
    from deep.torch_engine import TorchEngine
    from deep.trainer import Run, train_with

    on_card = torch.device(options["device"]).type == "cuda"
    if on_card:
        options["device"] = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(options["device"])
    else:
        torch.set_num_threads(max(1, count_cores() // int(os.environ["WORLD_SIZE"])))
    store, _, processes = next(torch.distributed.rendezvous("env://"))
    # after a restart, the launcher's store still has the addresses of the processes that have ended
    store = torch.distributed.PrefixStore(f"attempt {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    torch.distributed.init_process_group("nccl" if on_card else "gloo", store=store, rank=rank, world_size=processes,
                                         timeout=PATIENCE)
    engine = TorchEngine(folder, **options)
    if rank:
        run = Run(folder, engine)
        if vgg and not engine.iteration:
            run.engine.transplant(vgg, rescale_conv1)
        for number in STOPPED:
            signal.signal(number, signal.SIG_IGN)  # process 0 stops the others between iterations
        engine.follow()
    else:
        try:
            train_with(folder, engine, vgg, rescale_conv1)
        finally:
            # after an error inside an iteration, the others wait for its gradients; the launcher ends them
            if not engine.in_iteration:
                with contextlib.suppress(RuntimeError):  # the connection is lost
                    engine.stop_followers()
    torch.distributed.destroy_process_group()


def _log_launcher(path):
    """Write the launcher's messages to a file instead of the screen."""
    handler = logging.FileHandler(path)
    for name in ("torch.distributed.elastic", "torch.distributed.launcher"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False


if __name__ == "__main__":
    sys.exit(main())
