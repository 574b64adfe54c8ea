"""The `kernel` provider: notebooks' kernels that borrow the models of another kernel, called `box` here, each with a home of its own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq
from conftest import Run
from frontend import Frontend
from jupyter_client.connect import write_connection_file
from resident import attached, free_ports, kernel, resident_memory, wait_for_file

PARIS = "'What is the capital of France?'"
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
RAMBLE = "temperature = 20, top_k = 0, top_p = 1, min_p = 0, max_tokens = 900"
"""So hot that the end of the text is as unlikely as any other token."""
TOLD = 5.0
"""Seconds within which the loss of another kernel is told."""
PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")


class Kernels:
    """Kernels of a test, each in a folder of its own: its home, its connection file and its log."""

    def __init__(self, binary: Path, folder: Path):
        self.binary, self.folder = binary, folder
        self.stack = contextlib.ExitStack()

    def home(self, name: str, config: str = "") -> Path:
        home = self.folder / name
        home.mkdir(exist_ok=True)
        (home / "config.toml").write_text(config)
        return home

    def file(self, name: str) -> Path:
        return self.folder / name / "connection.json"

    def start(self, name: str, config: str = "") -> int:
        """The pid, as soon as its connection file is there."""
        home, file = self.home(name, config), self.file(name)
        log = home / "log"
        process = self.stack.enter_context(kernel(self.binary, file, log, home))
        wait_for_file(file, process, log)
        # A file that was there before says nothing about the kernel.
        with attached(file):
            return process.pid

    def attach(self, name: str) -> Frontend:
        return self.stack.enter_context(attached(self.file(name)))

    def encrypted(self, name: str) -> None:
        """Writes a connection file with CURVE keys for a kernel that is to be started."""
        public, secret = zmq.curve_keypair()
        ports = dict(zip(PORTS, free_ports(5), strict=True))
        self.home(name)
        write_connection_file(
            str(self.file(name)), ip="127.0.0.1", key=b"a key", curve_publickey=public, curve_secretkey=secret, **ports
        )

    def borrower(self, name: str) -> Frontend:
        """A client of a kernel that borrows the models of `box`."""
        self.start(name, self.borrowing())
        return self.attach(name)

    def borrowing(self, name: str = "box") -> str:
        return f'[providers.{name}]\ntype = "kernel"\nconnection_file = "{self.file(name)}"\n'


@pytest.fixture
def kernels(binary: Path, tmp_path: Path) -> Iterator[Kernels]:
    kernels = Kernels(binary, tmp_path)
    with kernels.stack:
        yield kernels
    for log in tmp_path.glob("*/log"):
        assert "panicked" not in log.read_text(), log


def loaded(frontend: Frontend, backend: str = "candle") -> dict[str, dict]:
    (status,) = frontend.model("status", backend=backend).reply["backends"]
    return {model["name"]: model for model in status["loaded"]}


def lua(frontend: Frontend, code: str) -> str:
    exchange = frontend.execute(code)
    assert exchange.reply["status"] == "ok", exchange.reply["evalue"]
    return exchange.stream().rstrip("\n")


def failure(frontend: Frontend, call: str) -> tuple[str, str, float]:
    """The kind and the message of the error that `call` raises, and the seconds it took."""
    exchange = frontend.execute(f"local ok, e = pcall(function() return {call} end) print(ok, e.kind) print(e.message)")
    first, message = exchange.stream().rstrip("\n").split("\n", 1)
    ok, kind = first.split("\t")
    assert ok == "false"
    return kind, message, exchange.answer.at - exchange.sent_at


def kill(pid: int) -> None:
    """Its ports are free when this returns."""
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def rambling(frontend: Frontend, box: Frontend, act: Callable[[], None]) -> None:
    """Starts generations that go on for long until `act` came in the middle of one, and waits for that one's end."""
    for seed in range(30):
        exchange = frontend.start(
            f"ok, e = pcall(function() for piece in LocalLLM.stream('x', {{ model = 'moonlet@box', seed = {seed}, {RAMBLE} }})"
            " do io.write(piece) end end)"
        )
        frontend.wait(lambda: exchange.stream(), "the first piece")
        before = loaded(box)["moonlet"]
        if before["active_requests"]:
            act()
            frontend.finish(exchange)
            return
        frontend.finish(exchange)
    pytest.fail("every generation was over before anything could be done")


def test_what_borrowed_models_computed_stays_where_they_are(kernels: Kernels, tmp_path: Path) -> None:
    kernels.start("box")
    notebook = kernels.borrower("notebook")
    agent = tmp_path / "agent.json"
    create = "Agent.create { model = 'local/moonlet@box', system_prompt = 'Be brief.' }"
    kind, message, _ = failure(notebook, f"{create}:save('{agent}', {{ state = true }})")
    assert kind == "invalid_request"
    assert "`box` (kernel) cannot save or restore what a model computed" in message
    assert not agent.exists()
    assert lua(notebook, f"print({create}:save('{agent}'))").startswith("Agent(")


def test_texts_become_vectors_over_there_and_what_only_others_can_is_told(kernels: Kernels) -> None:
    kernels.start("box")
    notebook = kernels.borrower("notebook")
    code = "local here, there = LocalLLM.embed('The moon', {model = 'local/moonlet@candle'}), LocalLLM.embed('The moon', {model = 'moonlet@box'})"
    assert lua(notebook, f"{code} local same = #here == #there for i = 1, #here do same = same and here[i] == there[i] end print(same)") == "true"
    kind, message, _ = failure(notebook, "LocalLLM.chat('Hello', {model = 'moonlet@box', schema = {type = 'object'}})")
    assert kind == "invalid_request"
    assert "`openai`" in message


def test_ten_notebooks_share_one_copy(kernels: Kernels) -> None:
    kernels.start("box")
    box = kernels.attach("box")
    names = [f"notebook{number}" for number in range(10)]
    pids = [kernels.start(name, "default_backend = \"box\"\n" + kernels.borrowing()) for name in names]
    notebooks = [kernels.attach(name) for name in names]
    code = f"local answer = LocalLLM.chat({PARIS}, {{ temperature = 0 }}) print(answer.text, answer.model)"
    asked = [notebook.start(code) for notebook in notebooks]
    answers = {notebook.finish(exchange).stream() for notebook, exchange in zip(notebooks, asked, strict=True)}
    (answer,) = answers
    assert "Paris" in answer and answer.endswith("\tlocal/moonlet@box\n")
    assert list(loaded(box)) == ["moonlet"]
    assert loaded(box)["moonlet"]["active_requests"] == 0
    for notebook in notebooks:
        assert loaded(notebook, "candle") == {}, "a notebook loaded a copy of its own"
        assert loaded(notebook, "box")["moonlet"]["steps"] == loaded(box)["moonlet"]["steps"]

    # What a copy costs, by the one notebook that then takes one.
    borrowed = [resident_memory(pid) for pid in pids]
    assert "Paris" in lua(notebooks[0], f"print(LocalLLM.generate({PARIS}, {{ temperature = 0, model = 'moonlet@candle' }}))")
    weights = 5 << 20
    assert max(borrowed) + weights < resident_memory(pids[0]), (borrowed, resident_memory(pids[0]))


def test_everything_that_is_asked_arrives_there_and_comes_back(kernels: Kernels) -> None:
    kernels.start("box")
    box = kernels.attach("box")
    notebook = kernels.borrower("notebook")
    tool = {
        "name": "weather",
        "description": "Get the current weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
    weather = [{"role": "user", "content": "What is the weather in Paris?"}]
    hot = {"temperature": 3, "top_k": 0, "top_p": 1, "min_p": 0, "max_tokens": 40, "seed": 11}
    requests = [
        {"command": "chat", "messages": QUESTION, "options": {"temperature": 0}},
        {"command": "chat", "messages": QUESTION, "options": {"temperature": 0, "stop": ["Paris"]}},
        {"command": "chat", "messages": QUESTION, "options": {"temperature": 0, "max_tokens": 2}},
        {"command": "chat", "messages": QUESTION, "options": hot},
        {"command": "chat", "messages": QUESTION, "options": hot | {"seed": 12, "repeat_penalty": 1.3, "top_k": 9}},
        {"command": "chat", "messages": weather, "tools": [tool], "options": {"temperature": 0}},
        {"command": "complete", "prompt": "Once upon a time", "raw": True, "options": hot},
        {"command": "complete", "prompt": "word " * 3000, "raw": True, "options": {"max_tokens": 1, "truncate": True, "seed": 1}},
        {"command": "chat", "messages": QUESTION, "options": {"temperature": -1}},
        {"command": "complete", "prompt": "word " * 3000, "raw": True},
    ]
    for request in requests:
        there = box.ask("model_request", request | {"model": "moonlet"})
        here = notebook.ask("model_request", request | {"model": "moonlet@box"})
        told = [arrival.content for arrival in here.all("model_event")]
        if there.reply["status"] == "error":
            assert here.reply["kind"] == there.reply["kind"] in ("invalid_request", "context_overflow")
            assert there.reply["evalue"] in here.reply["evalue"] and "`box`" in here.reply["evalue"]
            for length in ("prompt_tokens", "context_size"):
                assert here.reply.get(length) == there.reply.get(length)
            continue
        same = ("text", "tool_calls", "finish_reason", "usage")
        # What was computed before is known the second time, and each kernel has a clock of its own.
        for reply in (there.reply, here.reply):
            assert reply["usage"].pop("first_token_ms") > 0
            reply["usage"].pop("tokens_per_second", None)
            reply["usage"]["cached_tokens"] = 0
        assert [here.reply[key] for key in same] == [there.reply[key] for key in same], request
        assert here.reply["model"] == "local/moonlet@box"
        assert here.reply["duration_ms"] > 0
        assert "".join(event["text"] for event in told if event["event"] == "text") == here.reply["text"]
        assert [event["name"] for event in told if event["event"] == "tool_call"] == [c["name"] for c in here.reply["tool_calls"]]
        assert told[-1] == {"event": "done", "finish_reason": here.reply["finish_reason"]}
    info = notebook.model("info", model="moonlet@box").reply
    assert info | {"specifier": ""} == box.model("info", model="moonlet").reply | {"specifier": ""}
    assert notebook.model("unload", model="moonlet@box").reply["status"] == "ok"
    assert loaded(box) == loaded(notebook, "box") == {}
    assert notebook.model("unload", model="moonlet@box").reply["kind"] == "invalid_request"
    assert notebook.model("load", model="moonlet@box").reply["backend"] == "box"
    assert list(loaded(box)) == ["moonlet"]


def test_names_of_models_elsewhere(kernels: Kernels) -> None:
    kernels.start("box")
    notebook = kernels.borrower("notebook")
    listed = notebook.model("list", backend="box").reply["models"]
    assert [(model["backend"], model["name"], model["specifier"]) for model in listed] == [
        ("box", "moonlet", "local/moonlet@box")
    ]
    both = {model["specifier"] for model in notebook.model("list").reply["models"]}
    assert both == {"local/moonlet@box", "local/moonlet@candle"}
    assert lua(notebook, "for _, m in ipairs(LocalLLM.list('box')) do print(m.specifier, m.loaded) end") == "local/moonlet@box\tfalse"
    for name in ("local/moonlet@box", "moonlet@box", "box/moonlet", "moonlet@candle@box", "box/candle/moonlet"):
        assert notebook.model("info", model=name).reply["architecture"] == "llama", name
    # Loaded over there, a model without a backend means that one.
    assert lua(notebook, "print(LocalLLM.load('moonlet@box').specifier)") == "local/moonlet@box"
    assert lua(notebook, f"print(LocalLLM.chat({PARIS}, {{ model = 'moonlet', max_tokens = 1 }}).model)") == "local/moonlet@box"
    for name, kind in (("no-such@box", "model_not_found"), ("moonlet@olama@box", "provider_not_found")):
        reply = notebook.model("info", model=name).reply
        assert reply["kind"] == kind and "`box`" in reply["evalue"] and "candle" in reply["evalue"]


def test_the_first_piece_is_here_before_the_last_is_generated(kernels: Kernels) -> None:
    kernels.start("box")
    box, notebook = kernels.attach("box"), kernels.borrower("notebook")
    steps = []
    rambling(notebook, box, lambda: steps.append(loaded(box)["moonlet"]["steps"]))
    assert steps[0] < loaded(box)["moonlet"]["steps"]


def test_an_interrupted_cell_ends_the_steps_over_there(kernels: Kernels) -> None:
    kernels.start("box")
    box, notebook = kernels.attach("box"), kernels.borrower("notebook")
    rambling(notebook, box, lambda: notebook.ask("interrupt_request", channel="control"))
    assert notebook.execute("return 1").result == "1"
    box.wait(lambda: loaded(box)["moonlet"]["active_requests"] == 0, "the generation to end", patience=5)
    still = loaded(box)["moonlet"]["steps"]
    assert [loaded(box)["moonlet"]["steps"] for _ in range(10)] == [still] * 10
    assert "Paris" in lua(notebook, f"print(LocalLLM.generate({PARIS}, {{ model = 'moonlet@box', temperature = 0 }}))")


def test_a_run_that_is_interrupted_ends_the_steps_over_there(kernels: Kernels, binary: Path) -> None:
    """The process ends right after; the other kernel is still told."""
    kernels.start("box")
    box = kernels.attach("box")
    home = kernels.home("runner", kernels.borrowing())
    code = f"for s = 1, 1000 do for p in LocalLLM.stream('x', {{ model = 'moonlet@box', seed = s, {RAMBLE} }}) do io.write(p) end end"
    run = subprocess.Popen([binary, "exec", code], env=os.environ | {"PERILUNE_HOME": str(home)}, stdout=subprocess.PIPE)
    assert run.stdout.read(1)
    run.send_signal(signal.SIGINT)
    run.stdout.read()
    assert run.wait(10) == 130
    box.wait(lambda: loaded(box)["moonlet"]["active_requests"] == 0, "the generation to end", patience=5)


def test_what_a_killed_kernel_asked_for_ends_over_there(kernels: Kernels) -> None:
    """It cannot take back what it asked for, and what it asked for would take a minute."""
    kernels.start("box")
    box = kernels.attach("box")
    pid = kernels.start("notebook", kernels.borrowing())
    notebook = kernels.attach("notebook")
    options = {"temperature": 20, "top_k": 0, "top_p": 1, "min_p": 0, "max_tokens": 900}
    for seed in range(200):
        request = {"command": "chat", "messages": QUESTION, "model": "moonlet@box", "options": options | {"seed": seed}}
        notebook.send("model_request", request)
    box.wait(lambda: loaded(box).get("moonlet", {}).get("active_requests", 0) > 1, "the generations to begin")
    kill(pid)
    box.wait(lambda: loaded(box)["moonlet"]["active_requests"] == 0, "the generations to end", patience=10)
    assert "Paris" in box.model("chat", messages=QUESTION, options={"temperature": 0}).reply["text"]


def test_many_requests_go_side_by_side_over_one_connection(kernels: Kernels) -> None:
    kernels.start("box")
    box, notebook = kernels.attach("box"), kernels.borrower("notebook")
    request = {"command": "chat", "messages": QUESTION, "model": "moonlet@box", "options": {"temperature": 0}}
    exchanges = [notebook.send("model_request", request) for _ in range(60)]
    replies = [notebook.finish(exchange).reply for exchange in exchanges]
    assert {reply["text"] for reply in replies} == {box.model("chat", messages=QUESTION, options={"temperature": 0}).reply["text"]}
    for exchange in exchanges:
        told = [arrival.content["text"] for arrival in exchange.all("model_event") if arrival.content["event"] == "text"]
        assert "".join(told) == exchange.reply["text"]


@pytest.mark.parametrize("ports", ["the same ports", "other ports"])
@pytest.mark.parametrize("frozen", [False, True], ids=["killed", "frozen"])
def test_a_kernel_lost_in_mid_generation_is_told_and_found_again(kernels: Kernels, frozen: bool, ports: str) -> None:
    pid = kernels.start("box")
    box, notebook = kernels.attach("box"), kernels.borrower("notebook")
    at = []

    def end() -> None:
        os.kill(pid, signal.SIGSTOP if frozen else signal.SIGKILL)
        at.append(time.monotonic())

    rambling(notebook, box, end)
    assert time.monotonic() - at[0] < TOLD
    told = lua(notebook, "print(ok, e.kind, e.message)")
    connection = json.loads(kernels.file("box").read_text())
    assert told.startswith("false\tnetwork\t`box`: ")
    assert f"127.0.0.1:{connection['shell_port']}" in told
    assert notebook.execute("return 1").result == "1"
    kind, _, seconds = failure(notebook, "LocalLLM.generate('x', { model = 'moonlet@box' })")
    assert kind in ("network", "timeout") and seconds < TOLD

    kill(pid)
    if ports == "other ports":
        kernels.file("box").unlink()
    kernels.start("box")
    again = kernels.attach("box")
    assert (json.loads(kernels.file("box").read_text()) == connection) == (ports == "the same ports")
    deadline = time.monotonic() + TOLD
    ask = f"ok, e = pcall(LocalLLM.generate, {PARIS}, {{ model = 'moonlet@box', temperature = 0 }}) print(e)"
    while "Paris" not in (answer := lua(notebook, ask)):
        assert time.monotonic() < deadline, answer
    assert list(loaded(again)) == ["moonlet"]


@pytest.mark.parametrize("ports", ["the same ports", "other ports"])
def test_a_restart_between_two_requests_is_not_noticed(kernels: Kernels, ports: str) -> None:
    pid = kernels.start("box")
    notebook = kernels.borrower("notebook")
    ask = f"print(LocalLLM.generate({PARIS}, {{ model = 'moonlet@box', temperature = 0 }}))"
    assert "Paris" in lua(notebook, ask)
    kill(pid)
    if ports == "other ports":
        kernels.file("box").unlink()
    kernels.start("box")
    # Long enough for the connection not to be taken for a fresh one.
    time.sleep(1.1)
    assert "Paris" in lua(notebook, ask)


def test_a_stopped_kernel_is_an_error_and_not_an_answer(kernels: Kernels) -> None:
    kernels.start("box")
    box, notebook = kernels.attach("box"), kernels.borrower("notebook")
    rambling(notebook, box, lambda: box.ask("shutdown_request", {"restart": False}, channel="control"))
    assert lua(notebook, "print(ok, e.kind)") in ("false\tcancelled", "false\tnetwork")


@pytest.mark.parametrize("encrypted_for_clients", [True, False], ids=["public key only", "both keys"])
def test_an_encrypted_kernel_is_borrowed_from(kernels: Kernels, encrypted_for_clients: bool) -> None:
    kernels.encrypted("box")
    kernels.start("box")
    if encrypted_for_clients:
        connection = json.loads(kernels.file("box").read_text())
        del connection["curve_secretkey"]
        kernels.file("box").write_text(json.dumps(connection))
    notebook = kernels.borrower("notebook")
    assert "Paris" in lua(notebook, f"print(LocalLLM.generate({PARIS}, {{ model = 'moonlet@box', temperature = 0 }}))")


def unreachable(kernels: Kernels) -> None:
    write_connection_file(str(kernels.file("box")), ip="127.0.0.1", key=b"k", **dict(zip(PORTS, free_ports(5), strict=True)))


def silent(kernels: Kernels) -> None:
    """Something listens, but never greets."""
    ports = {}
    for port in PORTS:
        listener = kernels.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        ports[port] = listener.getsockname()[1]
    write_connection_file(str(kernels.file("box")), ip="127.0.0.1", key=b"k", **ports)


def wrong_key(kernels: Kernels) -> None:
    kernels.start("box")
    connection = json.loads(kernels.file("box").read_text())
    kernels.file("box").write_text(json.dumps(connection | {"key": "another key"}))


def wrong_curve_key(kernels: Kernels) -> None:
    kernels.encrypted("box")
    kernels.start("box")
    connection = json.loads(kernels.file("box").read_text()) | {"curve_publickey": zmq.curve_keypair()[0].decode()}
    del connection["curve_secretkey"]
    kernels.file("box").write_text(json.dumps(connection))


def a_pipe(kernels: Kernels) -> None:
    os.mkfifo(kernels.file("box"))


@pytest.mark.parametrize(
    ("prepare", "kind", "words"),
    [
        (lambda kernels: None, "network", ["no connection file", "connection.json", "kernel start"]),
        (lambda kernels: kernels.file("box").write_text("{"), "invalid_config", ["connection.json", "JSON", "kernel start"]),
        (lambda kernels: kernels.file("box").write_text("{}"), "invalid_config", ["connection.json", "lacks the field"]),
        (lambda kernels: kernels.file("box").mkdir(), "invalid_config", ["connection.json", "not a regular file"]),
        (a_pipe, "invalid_config", ["connection.json", "not a regular file"]),
        (unreachable, "network", ["no kernel answers on tcp://127.0.0.1:", "refused"]),
        (silent, "network", ["no kernel answers on tcp://127.0.0.1:"]),
        (wrong_key, "timeout", ["127.0.0.1:", "did not answer"]),
        (wrong_curve_key, "network", ["127.0.0.1:"]),
    ],
    ids=["no file", "no JSON", "no fields", "a folder", "a pipe", "nobody there", "silence", "wrong key", "wrong CURVE key"],
)
def test_what_keeps_a_kernel_from_being_reached_is_said_and_the_rest_works(
    kernels: Kernels, prepare: Callable[[Kernels], None], kind: str, words: list[str]
) -> None:
    kernels.home("box")
    prepare(kernels)
    notebook = kernels.borrower("notebook")
    said, message, seconds = failure(notebook, "LocalLLM.generate('x', { model = 'moonlet@box' })")
    assert (said, seconds < TOLD) == (kind, True), (said, seconds, message)
    for word in ["`box`", *words]:
        assert word in message, message
    assert "Paris" in lua(notebook, f"print(LocalLLM.generate({PARIS}, {{ model = 'moonlet@candle', temperature = 0 }}))")
    listed = notebook.model("list").reply
    assert [model["specifier"] for model in listed["models"]] == ["local/moonlet@candle"]
    (error,) = listed["errors"]
    assert error["backend"] == "box" and error["kind"] == kind
    status = {backend["backend"]: backend["status"] for backend in notebook.model("status").reply["backends"]}
    assert status == {"box": "unavailable", "candle": "ready"}


def test_kernels_that_name_each_other_and_themselves_ask_no_further(kernels: Kernels) -> None:
    both = [kernels.borrowing(name) for name in ("one", "two")]
    for name in ("one", "two"):
        kernels.start(name, "default_backend = \"one\"\n" + "".join(both))
    one, two = kernels.attach("one"), kernels.attach("two")
    for kernel, other in ((one, "two"), (two, "one")):
        listed = {model["specifier"] for model in kernel.model("list").reply["models"]}
        assert listed == {"local/moonlet@candle", f"local/moonlet@{other}"}, "it does not list what it borrows from itself"
        status = {backend["backend"]: backend["status"] for backend in kernel.model("status").reply["backends"]}
        assert status == {"one": "ready", "two": "ready", "candle": "ready"}
        answer = kernel.model("chat", messages=QUESTION, options={"temperature": 0})
        assert "Paris" in answer.reply["text"] and answer.reply["model"] == "local/moonlet@one"
    assert list(loaded(one)) == ["moonlet"]
    assert loaded(two) == {}
    reply = one.model("info", model="moonlet@one@two").reply
    assert reply["kind"] == "provider_not_found", "a borrowed model was lent on"


def test_a_project_adds_no_kernel_until_it_is_trusted(kernels: Kernels, perilune: Run) -> None:
    kernels.start("box")
    home, project = kernels.home("user"), kernels.home("project")
    (project / "perilune.toml").write_text(kernels.borrowing() + 'default_model = "moonlet"\n')
    surroundings = os.environ | {"PERILUNE_HOME": str(home)}
    ask = ("exec", f"return LocalLLM.generate({PARIS}, {{ model = 'moonlet@box', temperature = 0 }})")
    done = perilune(*ask, cwd=project, env=surroundings)
    assert done.returncode == 1
    assert "`connection_file` in [providers.box] was ignored" in done.stderr
    assert "trust" in done.stderr.split("error: ")[1]
    (home / "config.toml").write_text(f'trusted_folders = ["{project}"]')
    done = perilune(*ask, cwd=project, env=surroundings)
    assert "Paris" in done.stdout, done.stderr


def test_the_resident_kernel_is_shared_by_one_word_in_the_configuration(kernels: Kernels, perilune: Run) -> None:
    """The resident kernel reads the same configuration, and finds itself there."""
    home = kernels.home("user", 'default_backend = "shared"\n[providers.shared]\ntype = "kernel"\nconnection_file = "resident"\n')
    surroundings = os.environ | {"PERILUNE_HOME": str(home)}
    ask = ("exec", f"local a = LocalLLM.chat({PARIS}, {{ temperature = 0 }}) print(a.text, a.model)")
    missing = perilune(*ask, env=surroundings)
    assert missing.returncode == 1 and "perilune kernel start --detach" in missing.stderr
    assert perilune("kernel", "start", "--detach", env=surroundings).returncode == 0
    try:
        done = perilune(*ask, env=surroundings)
        assert "Paris" in done.stdout and "local/moonlet@shared" in done.stdout, done.stderr
        ps = json.loads(perilune("--output", "json", "model", "ps", env=surroundings).stdout)
        assert [(model["backend"], model["name"]) for model in ps] == [("candle", "moonlet")]
        assert ps[0]["steps"] > 0 and ps[0]["active_requests"] == 0
        text = perilune("model", "list", env=surroundings).stdout
        assert "candle there" in text
        connection = home / "run/kernel.json"
        own = perilune("--connect", connection, *ask, env=surroundings)
        assert own.stdout == done.stdout, own.stderr
    finally:
        assert perilune("kernel", "stop", env=surroundings).returncode == 0


def test_a_waiting_connection_computes_nothing(kernels: Kernels) -> None:
    kernels.start("box")
    notebook = kernels.borrower("notebook")
    ask = f"print(LocalLLM.generate({PARIS}, {{ model = 'moonlet@box', temperature = 0 }}))"
    assert "Paris" in lua(notebook, ask)
    pid = kernels.start("idle", kernels.borrowing())
    idle = kernels.attach("idle")
    assert "Paris" in lua(idle, ask)

    def ticks() -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    before = ticks()
    time.sleep(2)
    assert (ticks() - before) / os.sysconf("SC_CLK_TCK") < 0.1, "it works although nothing is asked"
