"""Perilune's kernel beside ipykernel and ilua, and beside itself with CURVE, in one run, on this machine.

    tests/real/run --collect-only                         # once: makes the environment and the binary
    target/real-venv/bin/python tests/bench/kernel.py [--rounds 15] [--executes 100] [--json FILE] [--perilune BINARY]

Any Python with tests/python/requirements.txt does as well; without ilua and a `lua` on PATH its column is left out. It prints
figures and what is wanted of them, and asserts nothing.

Each round starts one fresh process of every kernel, in an order that changes, and measures in it:

start to kernel_info
    From just before the process is spawned (`subprocess.Popen` of the kernelspec's argv, with a connection file that was
    written before) to the arrival of the first kernel_info_reply. The socket that asks was connected before the spawn and
    retries every millisecond, so that neither libzmq's retry interval of 100 ms nor jupyter_client's waits are part of the
    figure. Closest to what the kernel itself takes.
start to ready
    `KernelManager.start_kernel()` and `client.wait_for_ready()`, as an application does it: the manager's own work, libzmq's
    retry interval and the client's wait for 200 ms of silence on iopub are part of the figure, the same for all kernels.
execute to reply, execute to idle
    From handing `1 + 1` to the shell socket to the arrival of execute_reply, and of status idle; one at a time, in a warm
    kernel. Pooled over all rounds.
10,000 printed lines
    A loop that prints the numbers from 1 to 10,000, one `print` each: from sending it until idle and every line have come. Lines
    that come after idle, or never, are counted below the table.
interrupt of a tight loop
    From calling `KernelManager.interrupt_kernel()` (a message or SIGINT, as the kernelspec says) to the reply of the endless loop
    that is running. The manager's control socket is connected before. A kernel that has not answered within 5 s never does.
idle memory
    VmRSS of the process and its children once it has answered kernel_info and one `1 + 1`; no model is loaded. VmRSS counts pages
    of the program's file that were touched; `private` is RssAnon, what the process alone holds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests/python"))

import psutil  # noqa: E402
import zmq  # noqa: E402
from frontend import Frontend, connect_control  # noqa: E402
from jupyter_client import BlockingKernelClient, KernelManager  # noqa: E402
from jupyter_client.connect import write_connection_file  # noqa: E402
from jupyter_client.kernelspec import KernelSpecManager  # noqa: E402
from jupyter_client.session import Session  # noqa: E402

PATIENCE = 60
INTERRUPT_PATIENCE = 5
"""Seconds after which a kernel that was interrupted never answers."""
SETTLE_PATIENCE = 10
"""Seconds after idle in which printed lines may still arrive."""


@dataclass(frozen=True)
class Kernel:
    """One column."""

    spec: str
    lines: str
    loop: str
    curve: bool = False


LUA_LINES = "for i = 1, 10000 do print(i) end"
LUA_LOOP = "print('going') while true do end"
KERNELS = {
    "perilune": Kernel("perilune", LUA_LINES, LUA_LOOP),
    "with CURVE": Kernel("perilune", LUA_LINES, LUA_LOOP, curve=True),
    "ipykernel": Kernel("python3", "for i in range(1, 10001): print(i)", "print('going', flush=True)\nwhile True: pass"),
    "ilua": Kernel("lua", LUA_LINES, LUA_LOOP),
}
LINES = "".join(f"{number}\n" for number in range(1, 10_001))

ROWS = [
    ("start", "start to kernel_info, ms"),
    ("ready", "start to ready, ms"),
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
        names = present()
        samples: dict[str, Samples] = {name: defaultdict(list) for name in names}
        for number in range(options.rounds):
            turn = number // 2 % len(names)
            order = names[turn:] + names[:turn]
            for name in order[:: 1 if number % 2 == 0 else -1]:
                measure(KERNELS[name], samples[name], options.executes, Path(scratch))
            print(f"\rround {number + 1} of {options.rounds}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
    facts = machine(options.perilune, options.rounds, names)
    print_table(facts, samples)
    print_faults(samples)
    print_wanted(samples)
    if options.json:
        options.json.write_text(json.dumps({"machine": facts, "samples": samples}, indent=1) + "\n")


def present() -> list[str]:
    """The kernels that can be measured here."""
    names = list(KERNELS)
    if find_spec("ilua") is None or shutil.which("lua") is None:
        print("ilua is left out: it needs the package `ilua` (tests/real/requirements.txt) and a `lua` on PATH\n")
        names.remove("ilua")
    return names


def set_up(scratch: Path, binary: Path) -> None:
    """Kernelspecs of our kernel and ipykernel, and homes for all products, in a folder that is thrown away."""
    for name in ("DATA", "CONFIG", "RUNTIME"):
        os.environ[f"JUPYTER_{name}_DIR"] = str(scratch / name.lower())
    os.environ["JUPYTER_PATH"] = str(scratch / "prefix/share/jupyter")
    os.environ["PERILUNE_HOME"] = str(scratch / "home")
    os.environ["IPYTHONDIR"] = str(scratch / "ipython")
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([binary, "kernel", "install", "--prefix", scratch / "prefix"], **quiet)
    subprocess.run([sys.executable, "-m", "ipykernel", "install", "--prefix", scratch / "prefix"], **quiet)


def measure(kernel: Kernel, samples: Samples, executes: int, scratch: Path) -> None:
    samples["start"].append(start_to_kernel_info(kernel, scratch))
    manager = KernelManager(kernel_name=kernel.spec, transport_encryption="required" if kernel.curve else "disabled")
    began = time.perf_counter()
    manager.start_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    first = manager.blocking_client()
    first.start_channels()
    first.wait_for_ready(timeout=PATIENCE)
    samples["ready"].append(1000 * (time.perf_counter() - began))
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
        measure_lines(kernel, frontend, samples)
        measure_interrupt(kernel, manager, frontend, samples)
    finally:
        frontend.close()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def measure_lines(kernel: Kernel, frontend: Frontend, samples: Samples) -> None:
    exchange = frontend.execute(kernel.lines, PATIENCE)
    whole = frontend.pump_until(lambda: exchange.stream() == LINES, time.monotonic() + SETTLE_PATIENCE)
    last = exchange.all("stream")[-1].at
    samples["lines"].append(1000 * (max(exchange.idle.at, last) - exchange.sent_at))
    samples["lost"].append(0 if whole else 10_000 - exchange.stream().count("\n"))
    samples["late"].append(sum(a.content["text"].count("\n") for a in exchange.all("stream") if a.at > exchange.idle.at))


def measure_interrupt(kernel: Kernel, manager: KernelManager, frontend: Frontend, samples: Samples) -> None:
    connect_control(manager, PATIENCE)
    running = frontend.start(kernel.loop)
    frontend.wait(lambda: "going" in running.stream(), "the loop to run", PATIENCE)
    began = time.monotonic()
    manager.interrupt_kernel()
    answered = frontend.pump_until(lambda: running.answer, began + INTERRUPT_PATIENCE)
    if answered:
        samples["interrupt"].append(1000 * (running.answer.at - began))
    else:
        samples["never"].append(1)


def start_to_kernel_info(kernel: Kernel, scratch: Path) -> float:
    public, secret = zmq.curve_keypair() if kernel.curve else (None, None)
    file, info = write_connection_file(
        str(scratch / "start.json"),
        key=b"0123456789abcdef0123456789abcdef",
        curve_publickey=public,
        curve_secretkey=secret,
    )
    argv = KernelSpecManager().get_kernel_spec(kernel.spec).argv
    argv = [sys.executable if argv[0] == "python" else argv[0], *argv[1:]]
    command = [part.replace("{connection_file}", file) for part in argv]
    session = Session(key=info["key"].encode())
    context = zmq.Context()
    shell = context.socket(zmq.DEALER)
    shell.setsockopt(zmq.RECONNECT_IVL, 1)
    shell.setsockopt(zmq.LINGER, 0)
    if kernel.curve:
        shell.curve_publickey, shell.curve_secretkey = zmq.curve_keypair()
        shell.curve_serverkey = public
    shell.connect(f"tcp://127.0.0.1:{info['shell_port']}")
    session.send(shell, "kernel_info_request", {})
    began = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if not shell.poll(1000 * PATIENCE):
            raise TimeoutError(f"`{kernel.spec}` gave no kernel_info_reply within {PATIENCE} s")
        elapsed = 1000 * (time.perf_counter() - began)
        _, message = session.recv(shell)
        if message["msg_type"] != "kernel_info_reply" or message["content"].get("status", "ok") != "ok":
            raise RuntimeError(f"`{kernel.spec}` answered {message['content']}")
        return elapsed
    finally:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        process.wait()
        shell.close()
        context.term()
        os.unlink(file)


def process_memory(pid: int) -> dict[str, float]:
    """Megabytes (10^6 bytes) of a process and its children, from /proc."""
    process = psutil.Process(pid)
    sums = {"VmRSS": 0.0, "RssAnon": 0.0}
    for each in [process, *process.children(recursive=True)]:
        fields = (line.split() for line in Path(f"/proc/{each.pid}/status").read_text().splitlines())
        for field in fields:
            if field[0].rstrip(":") in sums:
                sums[field[0].rstrip(":")] += int(field[1]) * 1024 / 1e6
    return sums


def machine(binary: Path, rounds: int, names: list[str]) -> dict[str, str]:
    models = [
        line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    ours = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    load = os.getloadavg()[0]
    packages = ["ipykernel", *(["ilua"] if "ilua" in names else []), "jupyter_client", "pyzmq"]
    return {
        "processor": f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores, load {load:.1f} at the end",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}, libzmq {zmq.zmq_version()}",
        "versions": ", ".join([ours, *(f"{name} {version(name)}" for name in packages)]),
        "rounds": str(rounds),
    }


def print_table(facts: dict[str, str], samples: dict[str, Samples]) -> None:
    for name, fact in facts.items():
        print(f"{name}: {fact}")
    print(f"\n{'':32}" + "".join(f"{name:>20}" for name in samples))
    print(f"{'':32}" + f"{'median':>11}{'p95':>9}" * len(samples))
    for row, title in ROWS:
        print(f"{title:32}" + "".join(cell(column[row]) for column in samples.values()))


def cell(values: list[float]) -> str:
    return f"{statistics.median(values):11.2f}{p95(values):9.2f}" if values else f"{'never':>11}{'':9}"


def p95(values: list[float]) -> float:
    ranked = sorted(values)
    return ranked[round(0.95 * (len(ranked) - 1))]


def print_faults(samples: dict[str, Samples]) -> None:
    """What no time in the table shows."""
    for name, column in samples.items():
        for fault, what in [("lost", "printed lines that never came"), ("late", "printed lines that came after idle")]:
            if any(column[fault]):
                rounds = sum(map(bool, column[fault]))
                print(f"{name}: {what}, in {rounds} of {len(column[fault])} rounds, at most {max(column[fault]):g} of 10,000")
        if column["never"]:
            print(f"{name}: an interrupt without an answer in {INTERRUPT_PATIENCE} s, in {len(column['never'])} rounds")


def print_wanted(samples: dict[str, Samples]) -> None:
    """What is wanted of these figures, and what they are."""

    def times(row: str, of: Callable[[list[float]], float] = statistics.median) -> float:
        return of(samples["ipykernel"][row]) / of(samples["perilune"][row])

    def with_curve(row: str) -> float:
        return statistics.median(samples["with CURVE"][row]) / statistics.median(samples["perilune"][row])

    fastest = min(statistics.median(column["lines"]) for column in samples.values())
    lines = statistics.median(samples["perilune"]["lines"])
    rows = [
        ("start to ready, times faster than ipykernel", times("ready"), 2, True),
        ("execute to reply, median, times faster", times("reply"), 8, True),
        ("execute to reply, p95, times faster", times("reply", p95), 5, True),
        ("10,000 lines, of the fastest's time", lines / fastest, 1.05, False),
        ("lines lost or late", sum(samples["perilune"]["lost"]) + sum(samples["perilune"]["late"]), 0, False),
        ("idle memory, of ipykernel's", 1 / times("memory"), 0.5, False),
        *((f"{title} with CURVE, of without", with_curve(row), 1.2, False) for row, title in ROWS[:6]),
    ]
    print(f"\n{'':52}{'is':>8}{'wanted':>12}")
    for title, value, bound, at_least in rows:
        met = value >= bound if at_least else value <= bound
        sign = ">=" if at_least else "<="
        print(f"{title:52}{value:8.2f}{sign:>6} {bound:5g}{'' if met else '   short'}")


if __name__ == "__main__":
    main()
