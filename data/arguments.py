"""Types for argparse that say what they want."""
import argparse
import math


def positive_int(text):
    """A whole number above 0."""
    return _whole(text, 1, "a whole number above 0")


def natural_int(text):
    """A whole number, 0 or above, as seeds are."""
    return _whole(text, 0, "a whole number, 0 or above")


def rate(text):
    """A number, 0 or above, as learning rates and penalties are."""
    return _number(text, math.inf, "a number, 0 or above")


def share(text):
    """A number from 0 to below 1."""
    return _number(text, 1, "a number from 0 to below 1")


def _number(text, end, wanted):
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < end:
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return value


def _whole(text, least, wanted):
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return value


def option(text):
    """"name=value" -> (name, value), whole numbers as numbers."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, int(value) if value.isdecimal() else value
