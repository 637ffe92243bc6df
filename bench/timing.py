"""The clock of the benchmarks and their peers. Standard library only: peers run in environments of their own."""
import time


def seconds_of(call):
    """Time one call of a function without arguments; return float seconds."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def seconds_of_each(call, repeats):
    """Time repeated calls of a function without arguments; return a list of float seconds."""
    return [seconds_of(call) for _ in range(repeats)]


def timed(function, seconds):
    """Wrap a function of one argument so that each call appends its time to the list `seconds`."""
    def wrapper(argument):
        start = time.perf_counter()
        result = function(argument)
        seconds.append(time.perf_counter() - start)
        return result

    return wrapper
