"""The product under test: its binary, a home of its own, its kernelspec, and kernels started from that by jupyter_client."""

from __future__ import annotations

import os
import statistics
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from frontend import Frontend
from jupyter_client import BlockingKernelClient, KernelManager

REPOSITORY = Path(__file__).resolve().parents[2]
MOONLET = REPOSITORY / "providers/engine/moonlet/moonlet-q8_0.gguf"
SCRIPTS = REPOSITORY / "scripts"

Run = Callable[..., "subprocess.CompletedProcess[str]"]
FIGURES: list[tuple[str, list[float]]] = []


@pytest.fixture(scope="session")
def binary() -> Path:
    """`$PERILUNE_BIN`, else what `cargo build --release` made."""
    path = Path(os.environ.get("PERILUNE_BIN", REPOSITORY / "target/release/perilune"))
    if not path.is_file():
        pytest.exit(f"no binary at `{path}`: run `cargo build --release` or set PERILUNE_BIN", returncode=4)
    return path


@pytest.fixture(scope="session", autouse=True)
def surroundings(tmp_path_factory: pytest.TempPathFactory, binary: Path) -> Iterator[Path]:
    """A home for Perilune and Jupyter in a temporary directory, with the kernelspec installed; nothing of the user's is read."""
    root = tmp_path_factory.mktemp("surroundings")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("PERILUNE_", "JUPYTER_"))]:
            patch.delenv(name)
        patch.setenv("PERILUNE_HOME", str(root / "home"))
        patch.setenv("JUPYTER_PATH", str(root / "prefix/share/jupyter"))
        for name in ("DATA", "CONFIG", "RUNTIME"):
            patch.setenv(f"JUPYTER_{name}_DIR", str(root / f"jupyter-{name.lower()}"))
        patch.setenv("IPYTHONDIR", str(root / "ipython"))
        # Where other programs keep models.
        patch.setenv("HF_HOME", str(root / "huggingface"))
        patch.setenv("OLLAMA_MODELS", str(root / "ollama-models"))
        patch.chdir(root)
        (root / "home").mkdir()
        subprocess.run([binary, "kernel", "install", "--prefix", root / "prefix"], check=True, timeout=60)
        yield root


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty `PERILUNE_HOME` for this test alone."""
    path = tmp_path / "home"
    (path / "models").mkdir(parents=True)
    monkeypatch.setenv("PERILUNE_HOME", str(path))
    return path


@pytest.fixture
def perilune(binary: Path) -> Run:
    """Runs the binary to its end: `perilune("run", script)`; its output is text."""

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        settings = {"capture_output": True, "text": True, "timeout": 30, "stdin": subprocess.DEVNULL}
        if "input" in options:
            del settings["stdin"]
        return subprocess.run([binary, *map(str, arguments)], **(settings | options))  # type: ignore[call-overload]

    return run


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[KernelManager]:
    """A kernel started from the kernelspec. It must still be alive when the test ends, unless the test shut it down."""
    log = tmp_path / "kernel.log"
    manager = KernelManager(kernel_name="perilune")
    with log.open("wb") as sink:
        manager.start_kernel(stdout=sink, stderr=subprocess.STDOUT)
        try:
            yield manager
            if manager.has_kernel:
                assert manager.is_alive(), f"the kernel died; it said: {log.read_text()}"
        finally:
            if manager.has_kernel:
                manager.shutdown_kernel(now=True)
            manager.cleanup_resources()
    assert "panicked" not in log.read_text()


@pytest.fixture
def connect(manager: KernelManager) -> Iterator[Callable[[], Frontend]]:
    """Connects one more client to the kernel."""
    frontends: list[Frontend] = []

    def connect() -> Frontend:
        client = BlockingKernelClient()
        client.load_connection_info(manager.get_connection_info(session=False))
        frontends.append(Frontend(client))
        frontends[-1].ready()
        return frontends[-1]

    yield connect
    for frontend in frontends:
        frontend.close()


@pytest.fixture
def frontend(connect: Callable[[], Frontend]) -> Frontend:
    """A client of the kernel, ready."""
    return connect()


@pytest.fixture
def figures() -> Callable[[str, list[float]], None]:
    """Keeps measured milliseconds for the table at the end of the run."""
    return lambda name, milliseconds: FIGURES.append((name, milliseconds))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES:
        terminalreporter.section("measured, in ms")
    for name, values in FIGURES:
        spread = f"median {statistics.median(values):7.1f}  from {min(values):7.1f} to {max(values):7.1f}"
        terminalreporter.write_line(f"{name:50} {spread}  ({len(values)} runs)")
