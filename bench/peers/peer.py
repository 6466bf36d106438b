"""What every peer's child process shares: its arguments, and the report of the time without imports."""

import argparse
import json
import time


def parser(methods):
    """What the command line of a peer script takes; `methods` are the names that --method takes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--data", required=True, help="data-set manifest")
    parser.add_argument("--method", choices=methods, default=methods[0])
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--indices", help="text file of calibration indices, one a line")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("-o", "--output", required=True)
    return parser


def arguments(methods):
    """The parsed command line of a peer script."""
    return parser(methods).parse_args()


def timed(work):
    """Runs `work` and prints {"work_seconds": ...} as the last line on stdout."""
    start = time.perf_counter()
    work()
    print(json.dumps({"work_seconds": time.perf_counter() - start}))
