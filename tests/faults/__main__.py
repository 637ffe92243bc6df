"""python -m tests.faults: break things on purpose, and check that each fault is one line and nothing is lost.

    inputs    damaged files for every reader (tests/faults/inputs.py)
    kills     signals to the commands at random moments (tests/faults/kills.py)

Prints a seed; the same seed repeats a campaign, and each failure names the options that repeat it alone.
"""
import argparse
import random
import shutil
import tempfile
import time
from pathlib import Path


def main():
    """Parse the command line and run the campaigns; the exit code is 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("campaign", choices=("inputs", "kills", "all"))
    parser.add_argument("--seed", type=int, help="default: a new one, which is printed")
    parser.add_argument("--inputs", "--count", type=int, help="number of damaged files (default: 5200)")
    parser.add_argument("--reader", action="append", help="only this reader")
    parser.add_argument("--kills", type=int, help="number of signals (default: 24)")
    parser.add_argument("--scenario", action="append", help="only this command")
    parser.add_argument("--long", action="store_true", help="trainings, too; 110,000 inputs and 1,000 signals by default")
    parser.add_argument("--first", type=int, default=0, help="number of the first damaged file, or of the first round")
    args = parser.parse_args()

    inputs, signals = args.inputs or (110_000 if args.long else 5200), args.kills or (1000 if args.long else 24)
    seed = random.SystemRandom().randrange(10 ** 6) if args.seed is None else args.seed
    print(f"seed {seed}", flush=True)
    failures, started = [], time.monotonic()

    def report(text):
        failures.append(text)
        print(f"FAILED {text}", flush=True)

    folder = Path(tempfile.mkdtemp(prefix="saliency-faults-"))
    try:
        if args.campaign in ("inputs", "all"):
            damage_inputs(folder / "inputs", seed, inputs, args, report)
        if args.campaign in ("kills", "all"):
            send_signals(folder / "kills", seed, signals, args, report)
    except KeyboardInterrupt:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if not failures:
        shutil.rmtree(folder)
    print(f"{len(failures)} failures in {time.monotonic() - started:.0f} s" + (f"; files in {folder}" if failures else ""))
    return 1 if failures else 0


def damage_inputs(folder, seed, count, args, report):
    """Run the campaign of damaged files and print its counts."""
    from tests.faults.inputs import campaign

    counts = campaign(folder, seed, count, args.reader, args.first, report).values()
    print(f"{sum(sum(count.values()) for count in counts)} damaged inputs: "
          f"{sum(count['read'] for count in counts)} were read, {sum(count['line'] for count in counts)} were one "
          f"line, {sum(count['failed'] for count in counts)} failed")


def send_signals(folder, seed, count, args, report):
    """Run the campaign of signals and print its counts."""
    from tests.faults import kills

    names = args.scenario or (kills.LONG if args.long else kills.QUICK)
    try:
        totals = kills.campaign(folder, seed, count, names, report, args.first)
    except KeyboardInterrupt:
        kills.end_commands()
        raise
    print(f"{totals['kills']} signals in {totals['rounds']} rounds of {len(names)} commands; {totals[kills.PYTHON]} of "
          "them met Python before it had read our first module")


if __name__ == "__main__":
    from common.errors import run

    run(main)
