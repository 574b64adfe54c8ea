"""A real Ollama of its own for a test: built once (tests/ollama/build), with an empty folder of models, on a free port."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import PATIENCE, REPOSITORY, server
from resident import free_ports

BUILD_LIMIT = 1800
"""Seconds: five minutes on two cores that have nothing else to do."""


def program() -> Path:
    """The server's program, built if need be; the test is skipped, and says why, where that is impossible."""
    folder = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / "ollama"
    command = [REPOSITORY / "tests/ollama/build", folder, sys.executable]
    built = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_LIMIT)
    if built.returncode != 0:
        last = (built.stderr.strip().splitlines() or ["it said nothing"])[-1]
        pytest.skip(f"Ollama cannot be built here (tests/ollama/build; needs gcc, and Go or the package index): {last}")
    return folder / "bin/ollama"


@dataclass
class Ollama:
    """A server that runs."""

    address: str
    process: psutil.Process
    folder: Path
    """Where its models are."""

    def ask(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> dict[str, Any]:
        """Asks it without us: what a test compares with, or prepares."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
            return json.loads(reply.read() or b"{}")

    def in_memory(self) -> list[str]:
        return [model["name"] for model in self.ask("/api/ps")["models"]]

    def stored(self) -> set[str]:
        return {model["name"] for model in self.ask("/api/tags")["models"]}

    def runners(self) -> list[psutil.Process]:
        """The processes that compute, one for each model in memory."""
        return self.process.children(recursive=True)

    def processor_time(self) -> float:
        """Seconds that it and its runners computed so far."""
        times = [process.cpu_times() for process in [self.process, *self.runners()]]
        return sum(each.user + each.system for each in times)

    def share(self, seconds: float) -> float:
        """How many processors it uses, on average over a time from now."""
        before, began = self.processor_time(), time.monotonic()
        time.sleep(seconds)
        return (self.processor_time() - before) / (time.monotonic() - began)


@contextmanager
def running(folder: Path) -> Iterator[Ollama]:
    """A server with its models in `folder`."""
    path = program()
    port = free_ports(1)[0]
    address = f"http://127.0.0.1:{port}"
    surroundings = os.environ | {"OLLAMA_HOST": f"127.0.0.1:{port}", "OLLAMA_MODELS": str(folder / "models"), "HOME": str(folder)}
    with server([path, "serve"], f"{address}/api/version", folder / "ollama.log", env=surroundings) as process:
        yield Ollama(address, psutil.Process(process.pid), folder)
