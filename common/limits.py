"""Limits of what a file may cost, against damaged files and bombs: environment variables change them."""
import os
import resource

from common.errors import UserError

LIMITS = {
    "SALIENCY_READ_SECONDS": 120,  # of reading one .mat or HDF5 file
    "SALIENCY_READ_MB": 8192,  # memory for it
    "SALIENCY_IMAGE_MEGAPIXELS": 128,  # of one image; decoding takes up to 12 bytes per pixel
    "SALIENCY_TABLE_MB": 4096,  # of one table, after decompression
    "SALIENCY_TABLE_COLUMNS": 10_000,
    "SALIENCY_DOWNLOAD_MB": 8192,  # of one download
}


def limit(name):
    """Return a limit: the environment variable of this name, or its default.

    Raises
    ------
    UserError
        The environment variable is no whole number above 0.
    """
    text = os.environ.get(name, "")
    if not text:
        return LIMITS[name]
    if not (text.isdecimal() and text.isascii() and int(text)):
        raise UserError(f"{name}={text}: give a whole number above 0")
    return int(text)


def memory_limit(size):
    """Return `size` bytes, or less if the user may not have that much (`ulimit -v`)."""
    _, highest = resource.getrlimit(resource.RLIMIT_AS)
    return size if highest == resource.RLIM_INFINITY else min(size, highest)


def limit_memory(size):
    """Limit the memory of this process to `size` bytes, see `memory_limit`."""
    size = memory_limit(size)
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
