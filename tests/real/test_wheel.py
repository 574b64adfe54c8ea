"""The Python package in an empty virtual environment: JupyterLab lists the kernel, a cell runs, and uninstalling leaves nothing.

The environment is never activated and its `bin` is not on PATH, so that whatever starts is found from the kernelspec's own place.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PATIENCE, PYTHON_SUITES, REPOSITORY, server
from resident import free_ports
from websocket_kernel import WebSocketKernel, of_kind

BUILD_PATIENCE = 3600
"""Seconds for a build, which may be the first of all, and for pip, which may download."""

pytestmark = pytest.mark.timeout(BUILD_PATIENCE)


def run(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=BUILD_PATIENCE, **options)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built in cargo's own target folder, so that what is compiled there already is not compiled again."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "maturin", "build", "--release", "--out", folder, cwd=REPOSITORY)
    (wheel,) = folder.glob("perilune-*.whl")
    return wheel


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with JupyterLab and nothing of ours."""
    folder = tmp_path_factory.mktemp("environment")
    constraints = folder / "constraints.txt"
    lists = [PYTHON_SUITES / "requirements.txt", Path(__file__).with_name("requirements.txt")]
    pins = [line for each in lists for line in each.read_text().splitlines() if "==" in line]
    constraints.write_text("\n".join(pins))
    run(sys.executable, "-m", "venv", folder / "venv")
    pip(folder / "venv", "install", "--constraint", constraints, "jupyterlab")
    return folder / "venv"


def pip(environment: Path, *arguments: object) -> str:
    return run(environment / "bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments).stdout


def files(environment: Path) -> set[Path]:
    """Everything in it, folders too, but for what Python compiles as it goes."""
    return {path.relative_to(environment) for path in environment.rglob("*") if "__pycache__" not in path.parts}


@pytest.fixture
def lab(environment: Path, surroundings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """JupyterLab's server in that environment, which knows of no other kernels."""
    monkeypatch.delenv("JUPYTER_PATH")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    port = free_ports(1)[0]
    address = f"http://127.0.0.1:{port}"
    command = [environment / "bin/python", "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    command += ["--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True", f"--ServerApp.root_dir={tmp_path}"]
    with server(command, f"{address}/api", tmp_path / "lab.log"):
        yield address


def test_it_holds_the_binary_the_kernelspec_and_no_python(wheel: Path) -> None:
    names = set(run(sys.executable, "-m", "zipfile", "--list", wheel).stdout.split())
    kernelspec = {name.rpartition("/")[2] for name in names if "/data/share/jupyter/kernels/perilune/" in name}
    assert kernelspec == {"kernel.json", "logo-32x32.png", "logo-64x64.png", "logo-svg.svg"}
    assert any(name.endswith("/scripts/perilune") for name in names)
    assert not any(name.endswith(".py") for name in names)


@pytest.fixture(scope="module")
def before(environment: Path, wheel: Path) -> set[Path]:
    """What the environment held before the wheel was installed into it."""
    before = files(environment)
    pip(environment, "install", "--no-index", "--no-deps", wheel)
    return before


def test_jupyterlab_lists_the_kernel_and_runs_a_cell(before: set[Path], lab: str) -> None:
    with urllib.request.urlopen(f"{lab}/api/kernelspecs", timeout=PATIENCE) as reply:
        listed = json.load(reply)["kernelspecs"]["perilune"]
    assert listed["spec"]["display_name"] == "Lua (Perilune)"
    for logo in ("logo-32x32", "logo-64x64", "logo-svg"):
        with urllib.request.urlopen(lab + listed["resources"][logo], timeout=PATIENCE) as reply:
            assert reply.status == 200
    kernel = WebSocketKernel(lab)
    try:
        result = of_kind(kernel.execute("return 6 * 7, LocalLLM.status() ~= nil"), "execute_result")
        assert result[0]["data"]["text/plain"].startswith("42")
    finally:
        kernel.close()


def test_install_leaves_pips_kernelspec_to_pip(before: set[Path], environment: Path) -> None:
    for what in ("install", "uninstall"):
        done = subprocess.run(
            [environment / "bin/perilune", "kernel", what, "--sys-prefix"], capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 1
        assert "a Python package" in done.stderr and str(environment) in done.stderr


def test_uninstalling_leaves_nothing(before: set[Path], environment: Path) -> None:
    assert files(environment) > before
    pip(environment, "uninstall", "--yes", "perilune")
    assert files(environment) == before
    listed = run(environment / "bin/jupyter", "kernelspec", "list", env=os.environ | {"JUPYTER_PATH": ""}).stdout
    assert "perilune" not in listed
