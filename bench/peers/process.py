"""Runs a command to its end and measures the whole process. Standard library only: on Linux a child's peak memory is
at least that of the process that forked it, so the measuring process has to stay small."""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes per unit of ru_maxrss


@dataclass
class Measurement:
    seconds: float
    peak_megabytes: float
    work_seconds: float | None  # without imports, where the process reports it
    processor_seconds: float  # of all threads, in the program and in the system for it


class ProcessFailed(Exception):
    pass


def run(command):
    """Measures one run; raises ProcessFailed with the end of stderr where the exit code is not 0."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        start = time.perf_counter()
        try:
            child = subprocess.Popen(command, stdout=stdout, stderr=stderr)
        except OSError as error:
            raise ProcessFailed(str(error)) from error
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)  # already reaped by wait4
        stdout.seek(0)
        stderr.seek(0)
        if child.returncode != 0:
            raise ProcessFailed(f"exit code {child.returncode}: {stderr.read()[-300:].strip()}")
        processor = usage.ru_utime + usage.ru_stime
        return Measurement(seconds, usage.ru_maxrss * RSS_UNIT / 1e6, work_seconds(stdout.read()), processor)


def work_seconds(output):
    """The time on the last line of a peer's output, see peer.timed."""
    last = output.rstrip().rsplit("\n", 1)[-1]
    return json.loads(last)["work_seconds"] if last.startswith('{"work_seconds"') else None
