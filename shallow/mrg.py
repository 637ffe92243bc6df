"""Theano's random numbers for dropout, MRG31k3p of L'Ecuyer and Touzin (2000), in NumPy.

The PyTorch engine takes its dropout masks from here, so that it drops the same units as Theano, and both can continue
from each other's checkpoints. A stream is two recurrences of order three; its state is their last three values, newest
first, (x1, x2, x3, y1, y2, y3). Streams are 2^72 steps apart.
"""
import numpy as np

MODULUS_1, MODULUS_2 = 2**31 - 1, 2**31 - 21069
STREAMS = 60 * 256  # number of streams that Theano takes if it compiles without the size of the batch
NEXT_1 = ((0, 2**22, 2**7 + 1), (1, 0, 0), (0, 1, 0))  # one step of a recurrence, as a matrix
NEXT_2 = ((2**15, 0, 2**15 + 1), (1, 0, 0), (0, 1, 0))
DISTANCE = 72  # log2 of the number of steps between streams


def initial_state(seed):
    """Return the states of all streams of a seed, int32 (STREAMS, 6); `seed` is an int from 1 to MODULUS_2 - 1."""
    halves = []
    for matrix, modulus in ((NEXT_1, MODULUS_1), (NEXT_2, MODULUS_2)):
        jump = np.array(matrix, np.uint64)
        for _ in range(DISTANCE):
            jump = _product(jump, jump, modulus)
        states = np.full((1, 3), seed, np.uint64)
        while len(states) < STREAMS:  # twice as many each time: the next ones are as far away as there are states
            states = np.concatenate([states, _product(states, jump.T, modulus)])
            jump = _product(jump, jump, modulus)
        halves.append(states[:STREAMS])
    return np.concatenate(halves, axis=1).astype(np.int32)


def uniform(state, count):
    """Draw the next `count` numbers, float32 in (0, 1), and advance `state`, int32 (STREAMS, 6), in place.

    The streams take turns. Those after the last number stay as they are.
    """
    rows = []
    for start in range(0, count, STREAMS):
        streams = state[:count - start]
        x1, x2, x3, y1, y2, y3 = streams.T.astype(np.int64)
        x = (NEXT_1[0][1] * x2 + NEXT_1[0][2] * x3) % MODULUS_1
        y = (NEXT_2[0][0] * y1 + NEXT_2[0][2] * y3) % MODULUS_2
        streams[:] = np.stack([x, x1, x2, y, y1, y2], axis=1)
        rows.append(np.where(x <= y, x - y + MODULUS_1, x - y).astype(np.float32) * np.float32(2**-31))
    return np.concatenate(rows)


def _product(first, second, modulus):
    """Multiply two uint64 matrices with elements below 2^31; their products of three terms fit into 64 bits."""
    return first @ second % np.uint64(modulus)
