"""A peer: another library at the same work, in a process and an environment of its own."""
import subprocess
from pathlib import Path

from common.errors import UserError


class Peer:
    """Runs a script of bench/peers, which answers each line it is given with a line of numbers.

    Parameters
    ----------
    python : path of the Python of the peer's environment
    script : name of a file in bench/peers
    *arguments : of the script

    Raises
    ------
    UserError
        The Python cannot be run.
    """

    def __init__(self, python, script, *arguments):
        self._script = script
        try:
            self._process = subprocess.Popen(
                [python, str(Path(__file__).parent / "peers" / script), *map(str, arguments)], text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except OSError as error:
            raise UserError(f"{python}: cannot be run ({error.strerror}); make bench makes it") from error

    def ask(self, *words):
        """Send one line and wait for the answer.

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
            answer = self._process.stdout.readline().split()
        except OSError:
            answer = []
        if not answer:
            raise UserError(f"{self._script} stopped (its message is above); delete build/bench and run make bench")
        return list(map(float, answer))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait()
