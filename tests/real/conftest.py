"""What the real parts share: the fixtures of tests/python, and servers that are started, waited for and ended."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PYTHON_SUITES = REPOSITORY / "tests/python"
SCREENSHOTS = REPOSITORY / "target/screenshots"
SCRIPTS = REPOSITORY / "scripts"

# Both folders have a conftest.py, and only one module can have that name.
sys.path.insert(0, str(PYTHON_SUITES))
_specification = importlib.util.spec_from_file_location("front_door", PYTHON_SUITES / "conftest.py")
front_door = importlib.util.module_from_spec(_specification)
sys.modules["front_door"] = front_door
_specification.loader.exec_module(front_door)

binary = front_door.binary
surroundings = front_door.surroundings
perilune = front_door.perilune
manager = front_door.manager
connect = front_door.connect
frontend = front_door.frontend
figures = front_door.figures
pytest_terminal_summary = front_door.pytest_terminal_summary

PATIENCE = 30.0
"""Seconds until a wait is given up: it bounds a failure and measures nothing."""


def program(name: str, package: str) -> str:
    """The path of a program of the system; a test that misses it is skipped, and says what to install."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"no `{name}` on this machine: install Debian's package {package}")
    return path


def wait_until(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Waits for something that nothing announces."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {patience} s for {what}")
        time.sleep(0.05)


@contextmanager
def server(command: list[object], address: str, log: Path, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A server that runs while the block does; it answers `address` before the block begins."""
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*map(str, command)], stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, **options
        )

    def answers() -> bool:
        assert process.poll() is None, f"it ended with {process.returncode}; it said: {log.read_text()}"
        try:
            with urllib.request.urlopen(address, timeout=PATIENCE) as reply:
                return reply.status == 200
        except (ConnectionError, urllib.error.URLError):
            return False

    try:
        wait_until(answers, f"{address}; it said: {log.read_text()}")
        yield process
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
