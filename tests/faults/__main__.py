"""python -m tests.faults: break things on purpose, and check that each fault is one line and nothing is lost.

    inputs    damaged files for every reader (tests/faults/inputs.py)

Prints a seed; the same seed repeats a campaign, and each failure names the options that repeat it alone.
"""
import argparse
import random
import sys
import tempfile
import time
from pathlib import Path


def main():
    """Parse the command line and run the campaigns; the exit code is 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("campaign", choices=("inputs",))
    parser.add_argument("--seed", type=int, help="default: a new one, which is printed")
    parser.add_argument("--inputs", "--count", type=int, default=5200, help="number of damaged files")
    parser.add_argument("--reader", action="append", help="only this reader")
    parser.add_argument("--first", type=int, default=0, help="number of the first damaged file")
    args = parser.parse_args()

    seed = random.SystemRandom().randrange(10 ** 6) if args.seed is None else args.seed
    print(f"seed {seed}", flush=True)
    failures, started = [], time.monotonic()

    def report(text):
        failures.append(text)
        print(f"FAILED {text}", flush=True)

    folder = Path(tempfile.mkdtemp(prefix="saliency-faults-"))
    if args.campaign == "inputs":
        from tests.faults.inputs import campaign

        counts = campaign(folder / "inputs", seed, args.inputs, args.reader, args.first, report).values()
        print(f"{sum(sum(count.values()) for count in counts)} damaged inputs: "
              f"{sum(count['read'] for count in counts)} were read, {sum(count['line'] for count in counts)} were one "
              f"line, {sum(count['failed'] for count in counts)} failed")
    print(f"{len(failures)} failures in {time.monotonic() - started:.0f} s" + (f"; files in {folder}" if failures else ""))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
