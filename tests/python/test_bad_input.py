"""Bad input gets a clear error, told to the one who gave it, and the kernel lives on. All of it comes through the front door."""

import json
import os
import re
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import MOONLET, Run
from frontend import PATIENCE, Frontend
from gguf_file import GgufFile
from jupyter_client import KernelManager
from resident import GREETING, attached, free_ports, kernel, long_frame_header, ready, resident_memory, wait_for_file

CONTEXT = 1024
LONG = "word " * 3000


def told(done: object, code: int, *words: str) -> None:
    """The command ended with `code` and one line on stderr that has `words`; it neither panicked nor printed an answer."""
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    for word in words:
        assert word in done.stderr, done.stderr
    assert "panicked" not in done.stderr


# Scripts


def test_a_missing_script(perilune: Run, tmp_path: Path) -> None:
    done = perilune("run", tmp_path / "missing.lua")
    told(done, 2, "missing.lua", "o such file")


def test_a_directory_for_a_script(perilune: Run, tmp_path: Path) -> None:
    told(perilune("run", tmp_path), 2, str(tmp_path))


def test_a_script_with_a_syntax_error(perilune: Run, tmp_path: Path) -> None:
    script = tmp_path / "broken.lua"
    script.write_text("print('never printed')\nlocal x = = 2\n")
    done = perilune("run", script)
    told(done, 1, "broken.lua:2:", "'='")
    assert done.stdout == ""


def test_a_script_that_is_no_text(perilune: Run, tmp_path: Path) -> None:
    script = tmp_path / "binary.lua"
    script.write_bytes(b"\x1bLua\x54\x00" + bytes(range(256)))
    done = perilune("run", script)
    assert done.returncode in (1, 2)
    assert "binary.lua" in done.stderr
    assert "panicked" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "Usage"),
        (["no-such-command"], "no-such-command"),
        (["run"], "FILE"),
        (["run", "--seed", "x", "a.lua"], "--seed"),
        (["model", "info", "--no-such-flag"], "--no-such-flag"),
        (["--output", "xml", "model", "list"], "json"),
    ],
)
def test_a_wrong_command_line(perilune: Run, arguments: list[str], word: str) -> None:
    told(perilune(*arguments), 2, word)


# Model files


def truncated(file: GgufFile) -> bytes:
    return bytes(file.bytes[: len(file.bytes) // 2])


def truncated_in_the_header(file: GgufFile) -> bytes:
    return bytes(file.bytes[:100])


def empty(file: GgufFile) -> bytes:
    return b""


def wrong_magic(file: GgufFile) -> bytes:
    return b"GGUX" + bytes(file.bytes[4:])


def unknown_version(file: GgufFile) -> bytes:
    return bytes(file.bytes[:4]) + struct.pack("<I", 99) + bytes(file.bytes[8:])


def unknown_architecture(file: GgufFile) -> bytes:
    file.replace_string("general.architecture", "lamma")
    return bytes(file.bytes)


def unknown_quantisation(file: GgufFile) -> bytes:
    file.set_tensor_type("blk.0.attn_q.weight", 99)
    return bytes(file.bytes)


def tensor_outside_the_file(file: GgufFile) -> bytes:
    file.set_tensor_offset("blk.0.attn_q.weight", 1 << 40)
    return bytes(file.bytes)


def tensor_offset_that_overflows(file: GgufFile) -> bytes:
    file.set_tensor_offset("blk.0.attn_q.weight", (1 << 64) - 32)
    return bytes(file.bytes)


def huge_counts(file: GgufFile) -> bytes:
    return bytes(file.bytes[:8]) + struct.pack("<QQ", 1 << 60, 1 << 60) + bytes(file.bytes[24:])


def huge_string(file: GgufFile) -> bytes:
    struct.pack_into("<Q", file.bytes, file.values["general.architecture"], 1 << 62)
    return bytes(file.bytes)


def huge_layer_count(file: GgufFile) -> bytes:
    struct.pack_into("<I", file.bytes, file.values["llama.block_count"], 1 << 31)
    return bytes(file.bytes)


def no_heads(file: GgufFile) -> bytes:
    struct.pack_into("<I", file.bytes, file.values["llama.attention.head_count"], 0)
    return bytes(file.bytes)


def noise(file: GgufFile) -> bytes:
    return bytes((7 * index * index + index // 3) % 256 for index in range(100_000))


DAMAGES: list[tuple[Callable[[GgufFile], bytes], str]] = [
    (truncated, r"truncated|bytes|end of"),
    (truncated_in_the_header, r"truncated|bytes|end"),
    (empty, r"empty|truncated|bytes|end|magic"),
    (wrong_magic, r"magic|GGUX|GGUF"),
    (unknown_version, r"version.*99|99.*version"),
    (unknown_architecture, r"`lamma`.*llama"),
    (unknown_quantisation, r"(?=.*blk\.0\.attn_q\.weight)(?=.*99)"),
    (tensor_outside_the_file, r"blk\.0\.attn_q\.weight"),
    (tensor_offset_that_overflows, r"blk\.0\.attn_q\.weight"),
    (huge_counts, r"tensor|metadata|count|bytes"),
    (huge_string, r"general\.architecture|string|bytes"),
    (huge_layer_count, r"block_count|layer|blk\."),
    (no_heads, r"head_count|heads"),
    (noise, r"magic|GGUF"),
]
NAMES = [damage.__name__ for damage, _ in DAMAGES]


def place(home: Path, damage: Callable[[GgufFile], bytes]) -> None:
    (home / "models/damaged.gguf").write_bytes(damage(GgufFile(MOONLET)))


def test_the_undamaged_copy_works(perilune: Run, home: Path) -> None:
    """Otherwise every test below could pass for another reason."""
    place(home, lambda file: bytes(file.bytes))
    done = perilune(
        "exec", "return LocalLLM.generate('What is the capital of France?', { model = 'local/damaged@candle', temperature = 0 })"
    )
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout


@pytest.mark.parametrize(("damage", "words"), DAMAGES, ids=NAMES)
def test_a_damaged_model_file_on_the_command_line(perilune: Run, home: Path, damage: Callable, words: str) -> None:
    place(home, damage)
    done = perilune("exec", "LocalLLM.load('local/damaged@candle')")
    told(done, 1, "damaged")
    assert re.search(words, done.stderr, re.DOTALL), done.stderr


@pytest.mark.timeout(240)
def test_damaged_model_files_are_refused_by_a_kernel_that_lives_on(
    home: Path, manager: KernelManager, frontend: Frontend
) -> None:
    for damage, words in DAMAGES:
        place(home, damage)
        reply = frontend.model("load", model="local/damaged@candle").reply
        assert reply["status"] == "error", damage.__name__
        assert reply["kind"] == "invalid_model_file", (damage.__name__, reply)
        assert "damaged" in reply["evalue"]
        assert re.search(words, reply["evalue"], re.DOTALL), (damage.__name__, reply["evalue"])
        cell = frontend.execute(
            "local ok, problem = pcall(LocalLLM.load, 'local/damaged@candle') print(problem.kind) print(problem.message)"
        )
        assert cell.stream().startswith("invalid_model_file\n"), damage.__name__
        assert frontend.model("info", model="local/damaged@candle").reply["status"] == "error", damage.__name__
        assert frontend.execute("return 6 * 7").result == "42"
    assert resident_memory(manager.provisioner.process.pid) < 200 << 20
    place(home, lambda file: bytes(file.bytes))
    assert frontend.model("load", model="local/damaged@candle").reply["status"] == "ok", "a repaired file loads at once"


def test_a_model_file_that_is_shortened_while_it_is_loaded(home: Path, frontend: Frontend) -> None:
    """The process lives; the model's generations fail until it is loaded again."""
    ask = {"model": "local/damaged@candle", "messages": [{"role": "user", "content": "What is the capital of France?"}], "temperature": 0}
    place(home, lambda file: bytes(file.bytes))
    assert frontend.model("chat", **ask).reply["status"] == "ok"
    os.truncate(home / "models/damaged.gguf", 1000)
    reply = frontend.model("chat", **(ask | {"messages": [{"role": "user", "content": "And of Spain?"}]})).reply
    assert reply["status"] == "error"
    assert "damaged.gguf" in reply["evalue"] and "load the model again" in reply["evalue"], reply["evalue"]
    assert frontend.execute("return 6 * 7").result == "42"
    place(home, lambda file: bytes(file.bytes))
    frontend.model("unload", model="local/damaged@candle")
    assert frontend.model("chat", **ask).reply["status"] == "ok"


def doubling_template(file: GgufFile) -> bytes:
    hostile = "{% set n = namespace(a='ab') %}{% for i in range(99) %}{% set n.a = n.a ~ n.a %}{% endfor %}{{ n.a }}"
    start = file.values["tokenizer.chat_template"]
    (length,) = struct.unpack_from("<Q", file.bytes, start)
    file.replace_string("tokenizer.chat_template", hostile.ljust(length))
    return bytes(file.bytes)


def test_a_chat_template_that_fills_memory(perilune: Run, home: Path) -> None:
    place(home, doubling_template)
    assert perilune("model", "info", "local/damaged@candle").returncode == 0
    done = perilune("exec", "LocalLLM.chat({ { role = 'user', content = 'Hello' } }, { model = 'local/damaged@candle' })")
    told(done, 1, "chat template", "bytes that a rendering", "line 1 of the template")


def test_a_shape_out_of_proportion_is_told_from_the_header(perilune: Run, home: Path) -> None:
    def many_layers(file: GgufFile) -> bytes:
        struct.pack_into("<I", file.bytes, file.values["llama.block_count"], 4096)
        return bytes(file.bytes)

    place(home, many_layers)
    told(perilune("model", "info", "local/damaged@candle"), 1, "damaged", "bytes of memory (a page of keys and values: ")


def test_a_folder_for_a_model_file(perilune: Run, home: Path) -> None:
    (home / "models/damaged.gguf").mkdir()
    done = perilune("exec", "LocalLLM.load('local/damaged@candle')")
    told(done, 1, "damaged")


# Names


@pytest.mark.parametrize(
    ("specifier", "words"),
    [
        ("local/no-such-model@candle", ["no-such-model", "candle"]),
        ("local/moonlt@candle", ["moonlt", "moonlet"]),
        ("local/moonlet@nowhere", ["nowhere", "candle"]),
        ("nowhere/moonlet", ["nowhere", "candle"]),
        ("moonlet@", ["moonlet@"]),
        ("/moonlet", ["/moonlet"]),
        ("local/", ["local/"]),
        ("two words", ["two words"]),
        ("../../etc/passwd", ["`..`", "candle"]),
    ],
)
def test_an_unknown_model_or_backend(perilune: Run, specifier: str, words: list[str]) -> None:
    told(perilune("exec", f"LocalLLM.generate('Hello', {{ model = '{specifier}' }})"), 1, *words)
    told(perilune("model", "info", specifier), 1, *words)
    flag = perilune("exec", "--model", specifier, "LocalLLM.generate('Hello')")
    assert flag.returncode in (1, 2)
    for word in words:
        assert word in flag.stderr


def test_an_unknown_model_in_a_notebook_has_a_kind(frontend: Frontend) -> None:
    reply = frontend.execute("LocalLLM.generate('Hello', { model = 'local/no-such-model@candle' })").reply
    assert reply["ename"] == "ModelError"
    assert reply["kind"] == "model_not_found"
    assert "no-such-model" in reply["evalue"]
    caught = frontend.execute(
        "local ok, problem = pcall(LocalLLM.generate, 'x', { model = 'local/moonlet@nowhere' }) return problem.kind"
    )
    assert "provider_not_found" in caught.result


def test_an_unknown_key_in_the_configuration(perilune: Run, home: Path) -> None:
    (home / "config.toml").write_text('[providers.candle]\ntype = "candle"\nmodel_directoy = "/x"\n')
    done = perilune("exec", "return 1")
    told(done, 2, "model_directoy", "model_directory", "config.toml")


# Prompts


def assert_both_lengths(text: str) -> None:
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    assert CONTEXT in numbers, text
    assert any(number >= 3000 for number in numbers), text


def test_a_prompt_longer_than_the_context_in_a_script(perilune: Run, tmp_path: Path) -> None:
    script = tmp_path / "long.lua"
    script.write_text("print('before')\nLocalLLM.generate(('word '):rep(3000))\n")
    done = perilune("run", script)
    told(done, 1, "long.lua:2")
    assert done.stdout == "before\n"
    assert_both_lengths(done.stderr)


def test_a_prompt_longer_than_the_context_in_a_notebook(frontend: Frontend) -> None:
    reply = frontend.execute("LocalLLM.chat({ { role = 'user', content = ('word '):rep(3000) } })").reply
    assert reply["kind"] == "context_overflow"
    assert_both_lengths(reply["evalue"])
    assert "Paris" in frontend.execute("return LocalLLM.generate('What is the capital of France?', { temperature = 0 })").result


def test_a_prompt_longer_than_the_context_in_a_model_request(frontend: Frontend) -> None:
    for request in (
        {"command": "chat", "messages": [{"role": "user", "content": LONG}]},
        {"command": "complete", "prompt": LONG, "raw": True},
    ):
        reply = frontend.ask("model_request", request).reply
        assert reply["status"] == "error"
        assert reply["kind"] == "context_overflow"
        assert_both_lengths(reply["evalue"])
    assert frontend.model("chat", messages=[{"role": "user", "content": "Hello!"}]).reply["status"] == "ok"


# Connection files


def connection(**changes: object) -> dict:
    ports = dict(zip(("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port"), free_ports(5), strict=True))
    return (
        ports
        | {"ip": "127.0.0.1", "transport": "tcp", "signature_scheme": "hmac-sha256", "key": "0123456789abcdef", "kernel_name": ""}
        | changes
    )


def test_a_stale_connection_file(perilune: Run, tmp_path: Path) -> None:
    file = tmp_path / "stale.json"
    file.write_text(json.dumps(connection()))
    for arguments in (
        ["--connect", file, "exec", "return 1"],
        ["kernel", "status", "--connection-file", file],
        ["kernel", "stop", "--connection-file", file],
    ):
        told(perilune(*arguments), 3, "stale.json")


def test_a_connection_file_of_another_kernel(binary: Path, perilune: Run, tmp_path: Path) -> None:
    """The ports answer, but not with this key: an error within seconds, not a hang."""
    file, log = tmp_path / "kernel.json", tmp_path / "log"
    with kernel(binary, file, log) as process:
        other = tmp_path / "other.json"
        other.write_text(json.dumps(wait_for_file(file, process, log) | {"key": "another key altogether"}))
        told(perilune("--connect", other, "exec", "return 1"), 3, "other.json")
        assert perilune("--connect", file, "exec", "return 1").stdout == "1\n"


def test_a_missing_connection_file(perilune: Run, home: Path, tmp_path: Path) -> None:
    told(perilune("--connect", tmp_path / "none.json", "exec", "return 1"), 3, "none.json")
    told(perilune("model", "ps"), 3, "perilune kernel start")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["malformed.json"]),
        ("{", ["malformed.json"]),
        ("[]", ["malformed.json"]),
        ("not json at all", ["malformed.json"]),
        ('{"ip": "127.0.0.1"}', ["malformed.json", "_port"]),
        (json.dumps(connection(shell_port="many")), ["malformed.json", "shell_port"]),
        (json.dumps(connection(shell_port=70_000)), ["malformed.json", "shell_port"]),
        (json.dumps(connection(signature_scheme="hmac-md5")), ["malformed.json", "hmac-md5", "hmac-sha256"]),
        (json.dumps(connection(transport="pigeon")), ["malformed.json", "pigeon", "tcp"]),
        (json.dumps(connection(ip="not an address!")), ["not an address!"]),
    ],
    ids=["empty", "cut", "list", "text", "no ports", "port as text", "port too large", "scheme", "transport", "address"],
)
def test_a_malformed_connection_file(perilune: Run, tmp_path: Path, text: str, words: list[str]) -> None:
    file = tmp_path / "malformed.json"
    file.write_text(text)
    for arguments in (["--connect", file, "exec", "return 1"], ["kernel", "start", "--connection-file", file]):
        done = perilune(*arguments)
        assert done.returncode in (2, 3), (arguments, done.returncode, done.stderr)
        for word in words:
            assert word in done.stderr, done.stderr
        assert "panicked" not in done.stderr
        assert "0123456789abcdef" not in done.stderr, "the key leaked"
    assert file.read_text() == text, "the file was overwritten"


def test_a_pipe_as_a_connection_file_is_not_waited_for(perilune: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = perilune("--connect", tmp_path / "pipe", "exec", "return 1")
    assert done.returncode == 3
    assert "not a regular file" in done.stderr


# Peers

HOSTILE = {
    "2^62-byte frame": GREETING + ready(b"DEALER") + long_frame_header(1 << 62),
    "2^63 - 1-byte frame": GREETING + ready(b"DEALER") + long_frame_header((1 << 63) - 1),
    "2^64 - 1-byte frame": GREETING + ready(b"DEALER") + long_frame_header((1 << 64) - 1),
    "2^40-byte frame": GREETING + ready(b"DEALER") + long_frame_header(1 << 40),
    "2^62-byte frame after 2^20 others": GREETING + ready(b"DEALER") + b"\x01\x00" * (1 << 20) + long_frame_header(1 << 62),
    "2^62-byte command": GREETING + long_frame_header(1 << 62, flags=0x06),
    "2^62-byte frame before the handshake": GREETING + long_frame_header(1 << 62),
    "2^62-byte frame to a publisher": GREETING + ready(b"SUB") + long_frame_header(1 << 62),
    "no greeting": long_frame_header(1 << 62),
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "garbage": bytes((7 * index * index + index // 3) % 256 for index in range(65_536)),
    "zeros": bytes(65_536),
    "half a greeting": GREETING[:11],
    "nothing": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_peer_that_does_not_speak_zeromq_well(manager: KernelManager, frontend: Frontend, name: str) -> None:
    info = manager.get_connection_info()
    pid = manager.provisioner.process.pid
    frontend.execute("kept = 'kept'")
    before = resident_memory(pid)
    peers = []
    for channel in ("shell", "iopub", "stdin", "control", "hb"):
        for _ in range(4):
            peer = socket.create_connection((info["ip"], info[f"{channel}_port"]), timeout=PATIENCE)
            peers.append(peer)
            try:
                peer.sendall(HOSTILE[name])
            except (ConnectionError, BrokenPipeError):
                pass  # the kernel hung up at once, which is an answer too
    running = frontend.execute("print('still here') return kept")
    assert running.stream() == "still here\n"
    assert "kept" in running.result
    assert frontend.ask("kernel_info_request", channel="control").reply["status"] == "ok"
    assert frontend.client.is_alive()
    if "frame" in name and "GET" not in name:
        for peer in peers:
            assert hung_up(peer), "a peer that claims such a frame is not kept"
    for peer in peers:
        peer.close()
    with_new_client = Frontend(manager.blocking_client())
    with_new_client.ready()
    assert with_new_client.execute("return 1").result == "1"
    with_new_client.close()
    # What a peer had sent is let go when its connection has ended, which is a moment after the peer left.
    frontend.wait(lambda: resident_memory(pid) - before < 64 << 20, "the memory to be let go")


def hung_up(peer: socket.socket) -> bool:
    """Whether the other side closes the connection, within patience."""
    peer.settimeout(PATIENCE)
    try:
        while peer.recv(65_536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def test_a_resident_kernel_survives_a_peer_that_vanishes_in_the_middle(binary: Path, tmp_path: Path) -> None:
    file, log = tmp_path / "kernel.json", tmp_path / "log"
    with kernel(binary, file, log) as process:
        info = wait_for_file(file, process, log)
        with attached(file) as gone:
            gone.start("print('going') for i = 1, 2000 do print(('x'):rep(1000)) end", allow_stdin=True)
        for _ in range(50):
            with socket.create_connection((info["ip"], info["shell_port"])) as peer:
                peer.sendall((GREETING + ready(b"DEALER"))[:70])
        with attached(file) as frontend:
            assert frontend.execute("return 1").result == "1"
            asking = frontend.start("io.read()", allow_stdin=True)
            frontend.wait(lambda: asking.first("input_request"), "the question")
        with attached(file, ready=False) as frontend:
            info = frontend.send("kernel_info_request", channel="control")
            frontend.wait(lambda: info.answer, "control to answer while a cell waits for a client that is gone")
            frontend.send("interrupt_request", channel="control")
            frontend.ready()
            assert frontend.execute("return 2").result == "2"
