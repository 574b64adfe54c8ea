"""Perilune's kernel beside ipykernel, in one run, on this machine.

    tests/run                                             # once: makes the environment and the binary
    target/python-venv/bin/python tests/bench/kernel.py [--rounds 15] [--executes 100] [--json FILE] [--perilune BINARY]

Any Python with tests/python/requirements.txt does as well. It prints figures and asserts nothing.

Each round starts one fresh process of either kernel, in an order that alternates, and measures in it:

start to kernel_info
    From just before the process is spawned (`subprocess.Popen` of the kernelspec's argv, with a connection file that was
    written before) to the arrival of the first kernel_info_reply. The socket that asks was connected before the spawn and
    retries every millisecond, so that neither libzmq's retry interval of 100 ms nor jupyter_client's waits are part of the
    figure. Closest to what the kernel itself takes.
the same through jupyter_client
    `KernelManager.start_kernel()` and `client.kernel_info(reply=True)`, as an application does it: the manager's own work
    and libzmq's retry interval are part of the figure, the same for both kernels.
execute to reply, execute to idle
    From handing `1 + 1` to the shell socket to the arrival of execute_reply, and of status idle; one at a time, in a warm
    kernel. Pooled over all rounds.
10,000 printed lines
    A loop that prints the numbers from 1 to 10,000, one `print` each: from sending it to idle, with all output received.
interrupt of a tight loop
    From calling `KernelManager.interrupt_kernel()` (a message to Perilune, SIGINT to ipykernel, as their kernelspecs say)
    to the reply of the endless loop that is running. The manager's control socket is connected before.
idle memory
    VmRSS of the process once it has answered kernel_info and one `1 + 1`; no model is loaded. VmRSS counts pages of the
    program's file that were touched; `private` is RssAnon, what the process alone holds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests/python"))

import zmq  # noqa: E402
from frontend import Frontend, connect_control  # noqa: E402
from jupyter_client import BlockingKernelClient, KernelManager  # noqa: E402
from jupyter_client.connect import write_connection_file  # noqa: E402
from jupyter_client.kernelspec import KernelSpecManager  # noqa: E402
from jupyter_client.session import Session  # noqa: E402

PATIENCE = 60

KERNELS = {
    "perilune": {
        "spec": "perilune",
        "lines": "for i = 1, 10000 do print(i) end",
        "loop": "print('going') while true do end",
    },
    "ipykernel": {
        "spec": "python3",
        "lines": "for i in range(1, 10001): print(i)",
        "loop": "print('going', flush=True)\nwhile True: pass",
    },
}
LINES = "".join(f"{number}\n" for number in range(1, 10_001))

ROWS = [
    ("start", "start to kernel_info, ms"),
    ("start_client", "the same through jupyter_client, ms"),
    ("reply", "execute to reply, ms"),
    ("idle", "execute to idle, ms"),
    ("lines", "10,000 printed lines, ms"),
    ("interrupt", "interrupt of a tight loop, ms"),
    ("memory", "idle memory, MB"),
    ("private", "idle memory, private, MB"),
]

Samples = dict[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--executes", type=int, default=100, help="per round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every sample")
    parser.add_argument("--perilune", type=Path, default=REPOSITORY / "target/release/perilune", metavar="BINARY")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        set_up(Path(scratch), options.perilune)
        samples: dict[str, Samples] = {name: {row: [] for row, _ in ROWS} for name in KERNELS}
        for number in range(options.rounds):
            for name in list(KERNELS)[:: 1 if number % 2 == 0 else -1]:
                measure(KERNELS[name], samples[name], options.executes, Path(scratch))
            print(f"\rround {number + 1} of {options.rounds}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
    facts = machine(options.perilune, options.rounds)
    print_table(facts, samples)
    if options.json:
        options.json.write_text(json.dumps({"machine": facts, "samples": samples}, indent=1) + "\n")


def set_up(scratch: Path, binary: Path) -> None:
    """Kernelspecs of both kernels and homes for both products in a folder that is thrown away."""
    for name in ("DATA", "CONFIG", "RUNTIME"):
        os.environ[f"JUPYTER_{name}_DIR"] = str(scratch / name.lower())
    os.environ["JUPYTER_PATH"] = str(scratch / "prefix/share/jupyter")
    os.environ["PERILUNE_HOME"] = str(scratch / "home")
    os.environ["IPYTHONDIR"] = str(scratch / "ipython")
    subprocess.run([binary, "kernel", "install", "--prefix", scratch / "prefix"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(
        [sys.executable, "-m", "ipykernel", "install", "--prefix", scratch / "prefix"],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def measure(kernel: dict[str, str], samples: Samples, executes: int, scratch: Path) -> None:
    samples["start"].append(start_to_kernel_info(kernel["spec"], scratch))
    manager = KernelManager(kernel_name=kernel["spec"])
    began = time.perf_counter()
    manager.start_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    first = manager.blocking_client()
    first.start_channels(shell=True, iopub=False, stdin=False, hb=False, control=False)
    first.kernel_info(reply=True, timeout=PATIENCE)
    samples["start_client"].append(1000 * (time.perf_counter() - began))
    first.stop_channels()
    client = BlockingKernelClient()
    client.load_connection_info(manager.get_connection_info(session=False))
    frontend = Frontend(client)
    try:
        frontend.ready(PATIENCE)
        frontend.execute("1 + 1")
        memory = process_memory(manager.provisioner.process.pid)
        samples["memory"].append(memory["VmRSS"])
        samples["private"].append(memory["RssAnon"])
        for _ in range(executes):
            exchange = frontend.execute("1 + 1")
            samples["reply"].append(1000 * (exchange.answer.at - exchange.sent_at))
            samples["idle"].append(1000 * (exchange.idle.at - exchange.sent_at))
        exchange = frontend.execute(kernel["lines"], PATIENCE)
        frontend.wait(lambda: exchange.stream() == LINES, "the printed lines")
        samples["lines"].append(1000 * (max(exchange.idle.at, exchange.all("stream")[-1].at) - exchange.sent_at))
        connect_control(manager, PATIENCE)
        running = frontend.start(kernel["loop"])
        frontend.wait(lambda: "going" in running.stream(), "the loop to run", PATIENCE)
        began = time.monotonic()
        manager.interrupt_kernel()
        frontend.finish(running, PATIENCE)
        samples["interrupt"].append(1000 * (running.answer.at - began))
    finally:
        frontend.close()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def start_to_kernel_info(spec: str, scratch: Path) -> float:
    file, info = write_connection_file(str(scratch / "start.json"), key=b"0123456789abcdef0123456789abcdef")
    command = [part.replace("{connection_file}", file) for part in KernelSpecManager().get_kernel_spec(spec).argv]
    session = Session(key=info["key"].encode())
    context = zmq.Context()
    shell = context.socket(zmq.DEALER)
    shell.setsockopt(zmq.RECONNECT_IVL, 1)
    shell.setsockopt(zmq.LINGER, 0)
    shell.connect(f"tcp://127.0.0.1:{info['shell_port']}")
    session.send(shell, "kernel_info_request", {})
    began = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if not shell.poll(1000 * PATIENCE):
            raise TimeoutError(f"`{spec}` gave no kernel_info_reply within {PATIENCE} s")
        elapsed = 1000 * (time.perf_counter() - began)
        _, message = session.recv(shell)
        if message["msg_type"] != "kernel_info_reply" or message["content"].get("status") != "ok":
            raise RuntimeError(f"`{spec}` answered {message['content']}")
        return elapsed
    finally:
        process.kill()
        process.wait()
        shell.close()
        context.term()
        os.unlink(file)


def process_memory(pid: int) -> dict[str, float]:
    """Megabytes (10^6 bytes) from /proc."""
    fields = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {field[0].rstrip(":"): int(field[1]) * 1024 / 1e6 for field in fields if field[0] in ("VmRSS:", "RssAnon:")}


def machine(binary: Path, rounds: int) -> dict[str, str]:
    models = [
        line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    ours = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    load = os.getloadavg()[0]
    packages = ", ".join(f"{name} {version(name)}" for name in ("ipykernel", "jupyter_client", "pyzmq"))
    return {
        "processor": f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores, load {load:.1f} at the end",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}, libzmq {zmq.zmq_version()}",
        "versions": f"{ours}, {packages}",
        "rounds": str(rounds),
    }


def print_table(facts: dict[str, str], samples: dict[str, Samples]) -> None:
    for name, fact in facts.items():
        print(f"{name}: {fact}")
    print(f"\n{'':38}{'perilune':^32}{'ipykernel':^32}{'times':>8}")
    heading = f"{'median':>8}{'p95':>8}{'from':>8}{'to':>8}"
    print(f"{'':38}{heading}{heading}")
    for row, title in ROWS:
        ours, theirs = samples["perilune"][row], samples["ipykernel"][row]
        times = statistics.median(theirs) / statistics.median(ours)
        print(f"{title:38}{summary(ours)}{summary(theirs)}{times:7.1f}x")


def summary(values: list[float]) -> str:
    ranked = sorted(values)
    p95 = ranked[min(len(ranked) - 1, round(0.95 * (len(ranked) - 1)))]
    return "".join(f"{value:8.2f}" for value in (statistics.median(ranked), p95, ranked[0], ranked[-1]))


if __name__ == "__main__":
    main()
