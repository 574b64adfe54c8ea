"""What the command line says about itself: completion in a real shell, and the manual."""

import os
import shutil
import subprocess
from pathlib import Path

import pexpect
import pytest
from conftest import Run


def test_bash_completes_commands_options_and_their_values(binary: Path, tmp_path: Path, perilune: Run) -> None:
    script = tmp_path / "perilune.bash"
    script.write_text(perilune("completions", "bash").stdout)
    surroundings = os.environ | {"PATH": f"{binary.parent}:{os.environ['PATH']}", "PS1": "ready> ", "TERM": "dumb"}
    shell = pexpect.spawn("bash", ["--norc", "--noprofile"], env=surroundings, encoding="utf-8", timeout=30)
    try:
        shell.expect_exact("ready> ")
        shell.sendline(f"source {script}")
        shell.expect_exact("ready> ")
        for typed, completed in (("perilune mo", "del"), ("perilune kernel unin", "stall"), ("perilune --output j", "son")):
            shell.send(typed + "\t")
            shell.expect_exact(typed + completed)
            shell.sendcontrol("u")
    finally:
        shell.close(force=True)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_accept_their_script(shell: str, perilune: Run, tmp_path: Path) -> None:
    script = perilune("completions", shell)
    assert script.returncode == 0 and "kernel" in script.stdout
    if program := shutil.which(shell):
        (tmp_path / "script").write_text(script.stdout)
        subprocess.run([program, "-n", tmp_path / "script"], check=True, timeout=30)


def test_the_manual_renders_and_every_command_has_a_page(perilune: Run, tmp_path: Path) -> None:
    page = perilune("man")
    assert page.returncode == 0 and ".SH SYNOPSIS" in page.stdout
    assert perilune("man", tmp_path / "pages").returncode == 0
    pages = {path.name for path in (tmp_path / "pages").iterdir()}
    assert {"perilune.1", "perilune-run.1", "perilune-model-list.1", "perilune-kernel-start.1"} <= pages
    if groff := shutil.which("groff"):
        command = [groff, "-man", "-Tascii", "-ww", "-z"]
        for path in (tmp_path / "pages").iterdir():
            rendered = subprocess.run([*command, path], capture_output=True, text=True, timeout=30)
            assert rendered.returncode == 0 and rendered.stderr == "", f"{path.name}: {rendered.stderr}"


def test_a_folder_that_cannot_be_is_named(perilune: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = perilune("man", tmp_path / "file" / "pages")
    assert refused.returncode == 2 and str(tmp_path / "file") in refused.stderr
