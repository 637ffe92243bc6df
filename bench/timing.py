"""What the benchmarks time with."""
import time


def seconds_of(call):
    """Seconds that `call()` takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
