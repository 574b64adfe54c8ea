"""llama-cpp-python's server, an OpenAI-compatible peer that we have not written: built once (tests/llama_cpp/server), on a free port."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from conftest import REPOSITORY, server
from front_door import MOONLET
from resident import free_ports

BUILD_LIMIT = 3600
"""Seconds: eleven minutes on two cores that have nothing else to do."""


def python() -> Path:
    """The Python that has it, built if need be; the test is skipped, and says why, where that is impossible."""
    folder = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / "llama-cpp-python"
    built = subprocess.run([REPOSITORY / "tests/llama_cpp/server", folder], capture_output=True, text=True, timeout=BUILD_LIMIT)
    if built.returncode != 0:
        last = (built.stderr.strip().splitlines() or ["it said nothing"])[-1]
        pytest.skip(f"llama-cpp-python cannot be built here (tests/llama_cpp/server; needs gcc and the package index): {last}")
    return folder / "venv/bin/python"


@dataclass
class LlamaCpp:
    """A server that runs and has one model, `moonlet`."""

    url: str
    process: psutil.Process

    def config(self) -> str:
        """The provider `llamacpp` of a configuration."""
        return f'[providers.llamacpp]\ntype = "openai"\npreset = "llama-cpp-python"\nbase_url = "{self.url}"\n'

    def processor_time(self) -> float:
        """Seconds that it computed so far."""
        times = self.process.cpu_times()
        return times.user + times.system


@contextmanager
def running(folder: Path, context_size: int = 2048) -> Iterator[LlamaCpp]:
    """A server with moonlet, which it reads itself."""
    port = free_ports(1)[0]
    url = f"http://127.0.0.1:{port}/v1"
    command = [python(), "-m", "llama_cpp.server", "--model", MOONLET, "--model_alias", "moonlet"]
    command += ["--host", "127.0.0.1", "--port", port, "--n_ctx", context_size, "--embedding", "true"]
    with server(command, f"{url}/models", folder / "llama-cpp-python.log") as process:
        yield LlamaCpp(url, psutil.Process(process.pid))
