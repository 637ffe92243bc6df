"""Code that all folders share: arguments, errors, files, images, run folders, progress, parallel work, this machine.

Each folder imports this module first, so that Ctrl-C and SIGTERM are one line from the first moments of a command on,
before `common.errors.run` takes over: imports take seconds.
"""
import os
import signal
import sys

STOPPED = {signal.SIGINT: "interrupted: no incomplete file was left; run the same command to continue",
           signal.SIGTERM: "stopped: no incomplete file was left; run the same command to continue"}
_exiting = False


def exit_now(number, _frame=None):
    """Print the line of a signal and end the process at once. For moments when there is nothing to save.

    A second signal during this changes nothing.
    """
    global _exiting
    if _exiting:
        return
    _exiting = True
    try:
        os.write(2, f"{STOPPED[number]}\n".encode())
    finally:  # also if stderr is closed
        os._exit(128 + number)


# Python's name of a command while it looks for the module of `python -m`: not in a program that uses our code
if sys.argv[:1] == ["-m"]:
    for _number, _default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(_number) == _default:  # not ignored, as by nohup or in the background of a script
            signal.signal(_number, exit_now)
