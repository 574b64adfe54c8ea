"""The kernelspec `perilune`: what Jupyter finds, and how a kernel started from it comes and goes."""

import json
import subprocess
import time
from pathlib import Path

from conftest import Run
from frontend import PATIENCE, Frontend
from jupyter_client import KernelManager
from jupyter_client.kernelspec import KernelSpecManager


def test_jupyter_finds_a_complete_kernelspec(binary: Path) -> None:
    spec = KernelSpecManager().get_kernel_spec("perilune")
    assert spec.language == "lua"
    assert spec.interrupt_mode == "message"
    assert Path(spec.argv[0]).resolve() == binary.resolve()
    assert "{connection_file}" in spec.argv
    raw = json.loads(Path(spec.resource_dir, "kernel.json").read_text())
    assert raw["kernel_protocol_version"] == "5.5"


def test_uninstall_removes_what_install_made(perilune: Run, tmp_path: Path) -> None:
    folder = tmp_path / "share/jupyter/kernels/perilune"
    assert perilune("kernel", "install", "--prefix", tmp_path).returncode == 0
    assert (folder / "kernel.json").is_file()
    assert perilune("kernel", "uninstall", "--prefix", tmp_path).returncode == 0
    assert not folder.exists()


def test_uninstall_of_nothing_says_so(perilune: Run, tmp_path: Path) -> None:
    done = perilune("kernel", "uninstall", "--prefix", tmp_path)
    assert done.returncode != 0
    assert str(tmp_path) in done.stderr


def test_jupyter_clients_own_wait_for_ready_is_satisfied(manager: KernelManager) -> None:
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=PATIENCE)
        reply = client.execute("return 6 * 7", reply=True, timeout=PATIENCE)
        assert reply["content"]["status"] == "ok"
        assert client.is_alive(), "the heartbeat does not answer"
    finally:
        client.stop_channels()


def test_shutdown_is_answered_and_ends_the_process_well(manager: KernelManager, frontend: Frontend) -> None:
    process = manager.provisioner.process
    reply = frontend.ask("shutdown_request", {"restart": False}, channel="control").reply
    assert reply == {"status": "ok", "restart": False}
    assert process.wait(timeout=PATIENCE) == 0
    manager.shutdown_kernel(now=True)


def test_shutdown_ends_a_kernel_in_the_middle_of_a_cell(manager: KernelManager, frontend: Frontend) -> None:
    process = manager.provisioner.process
    running = frontend.start("print('going') while true do end")
    frontend.wait(lambda: running.stream(), "the cell to run")
    frontend.send("shutdown_request", {"restart": False}, channel="control")
    assert process.wait(timeout=PATIENCE) == 0
    manager.shutdown_kernel(now=True)


def test_restart_gives_a_fresh_state_at_the_same_address(manager: KernelManager, frontend: Frontend) -> None:
    frontend.execute("kept = 1")
    before = manager.provisioner.process.pid
    manager.restart_kernel()
    frontend.exchanges.clear()
    frontend.ready()
    assert manager.provisioner.process.pid != before
    assert frontend.execute("return kept == nil").result == "true"


def test_sigterm_ends_the_kernel(manager: KernelManager, frontend: Frontend) -> None:
    process = manager.provisioner.process
    process.terminate()
    began = time.monotonic()
    try:
        process.wait(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"still running {time.monotonic() - began:.0f} s after SIGTERM") from None
    manager.shutdown_kernel(now=True)
