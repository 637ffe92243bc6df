"""Consistent command lines: one parser class, shared options, and types with plain error messages."""
import argparse
import difflib
import math

from common.machine import count_cores


class Parser(argparse.ArgumentParser):
    """Parser of one command. An unknown option is an error that names the nearest valid option.

    Parameters
    ----------
    module : str
        Name of the command's module, such as "shallow.train".
    doc : str
        Docstring of that module. --help prints its first paragraph before the options and the rest after them.
    **kwargs
        Further arguments of argparse.ArgumentParser.
    """

    def __init__(self, module, doc, **kwargs):
        description, _, epilog = doc.partition("\n\n")
        super().__init__(prog=f"python -m {module}", description=description, epilog=epilog or None,
                         allow_abbrev=False, **kwargs)

    def parse_args(self, args=None, namespace=None):
        """Parse the command line; exit with code 2 if an option or a value is wrong."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if not unknown:
            return parsed
        name = unknown[0].split("=")[0]
        if not name.startswith("-"):
            self.error(f"unknown argument {name} (--help lists all)")
        nearest, = difflib.get_close_matches(name, self._option_string_actions, n=1, cutoff=0)
        return self.error(f"unknown option {name}; did you mean {nearest}? (--help lists all)")

    def add_seed(self, default):
        """Add --seed, an integer of 0 or above."""
        self.add_argument("--seed", type=non_negative_int, default=default, help="random seed (default: %(default)s)")

    def add_jobs(self):
        """Add --jobs, the number of worker processes."""
        self.add_argument("--jobs", type=positive_int, default=count_cores(),
                          help="number of processes (default: all cores)")


def positive_int(text):
    """Convert to an integer above 0."""
    return _integer(text, 1, "a whole number above 0")


def non_negative_int(text):
    """Convert to an integer of 0 or above."""
    return _integer(text, 0, "a whole number, 0 or above")


def non_negative_float(text):
    """Convert to a finite number of 0 or above."""
    return _number(text, math.inf, "a number, 0 or above")


def fraction(text):
    """Convert to a number from 0 to below 1."""
    return _number(text, 1, "a number from 0 to below 1")


def option(text):
    """Split "name=value" into (name, value); convert a value of digits to int."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, int(value) if value.isdecimal() else value


def _number(text, end, expected):
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < end:
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
    return value


def _integer(text, lowest, expected):
    try:
        value = int(text)
    except ValueError:
        value = lowest - 1
    if value < lowest:
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
    return value
