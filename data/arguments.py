"""Types for argparse that say what they want."""
import argparse


def positive_int(text):
    """A whole number above 0."""
    return _whole(text, 1, "a whole number above 0")


def natural_int(text):
    """A whole number, 0 or above, as seeds are."""
    return _whole(text, 0, "a whole number, 0 or above")


def _whole(text, least, wanted):
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return value
