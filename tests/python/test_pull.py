"""Bringing model files into the store: whole or not at all, whatever the network, the disk and the process do meanwhile."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import MOONLET, Run
from frontend import Frontend
from gguf_file import GgufFile
from hub import COMMIT, Hub

MIB = 1024 * 1024
TINY = "lab/tiny-GGUF"


def large(size: int, seed: int = 1) -> bytes:
    """What begins as a GGUF file does; a pull looks no further."""
    return b"GGUF" + random.Random(seed).randbytes(size - 4)


@pytest.fixture
def hub(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The Hub with three quantizations of a model; the smallest is the real moonlet."""
    for name in [name for name in os.environ if name.startswith("HF_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    files = {"tiny-Q8_0.gguf": MOONLET.read_bytes(), "tiny-Q4_K_M.gguf": large(24 * MIB), "tiny-F16.gguf": large(64 * MIB, 2)}
    hub = Hub(TINY, files)
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    (home / "config.toml").write_text("[downloads]\nstall_seconds = 1\n")
    yield hub
    hub.close()


def stored(home: Path) -> dict[str, Path]:
    """The models of the store by their names, each checked against the digest that it goes by."""
    models = {}
    for record in (home / "store/names").glob("*.json") if (home / "store/names").exists() else []:
        digest = json.loads(record.read_text())["sha256"]
        blob = home / "store/blobs" / f"sha256-{digest}"
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == digest
        models[record.stem.replace("@", ":")] = blob
    return models


def arrived(home: Path) -> int:
    """Bytes that are on the disk for certain, as the states of the parts say."""
    states = [json.loads(state.read_text()) for state in (home / "store/parts").glob("*.json")]
    return sum(end - start for state in states for start, end in state["written"])


def pull(perilune: Run, spec: str, *options: str, **settings: object) -> dict[str, object]:
    done = perilune("model", "pull", spec, *options, "--output", "json", **({"timeout": 60} | settings))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_is_pulled_is_served_by_its_name(hub: Hub, home: Path, perilune: Run) -> None:
    told = pull(perilune, f"hf:{TINY}:q8_0")
    digest = hashlib.sha256(hub.files["tiny-Q8_0.gguf"]).hexdigest()
    assert (told["name"], told["specifier"], told["sha256"]) == ("tiny:Q8_0", "local/tiny:Q8_0@candle", digest)
    assert (told["revision"], told["license"], told["source"]) == (COMMIT, "mit", f"hf:{TINY}/tiny-Q8_0.gguf")
    assert not told["was_there"] and list(stored(home)) == ["tiny:Q8_0"]
    assert list((home / "store/parts").iterdir()) == []
    answer = perilune("exec", "return LocalLLM.generate('Hi', {model = 'local/tiny:Q8_0@candle', max_tokens = 4, seed = 1})")
    assert answer.returncode == 0 and answer.stdout.strip(), answer.stderr
    assert "tiny:Q8_0" in perilune("model", "list").stdout

    # Again it takes nothing, by another name only that, and by force everything.
    sent = hub.sent
    assert pull(perilune, f"hf:{TINY}:Q8_0")["was_there"]
    assert pull(perilune, f"hf:{TINY}:Q8_0", "--name", "mine")["was_there"]
    assert hub.sent == sent and set(stored(home)) == {"tiny:Q8_0", "mine"}
    assert not pull(perilune, f"hf:{TINY}:Q8_0", "--force")["was_there"]
    assert hub.sent >= sent + len(hub.files["tiny-Q8_0.gguf"])


def test_a_token_goes_to_the_hub_alone_and_into_no_log(hub: Hub, home: Path, perilune: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Hub("none/none", hub.files)
    try:
        hub.redirect = other.url("tiny-Q8_0.gguf") + "?signature=planted-signature"
        (home / "config.toml").write_text("[downloads]\nallow_loopback = true\n")
        monkeypatch.setenv("HF_TOKEN", "hf_planted")
        monkeypatch.setenv("PERILUNE_LOG", "trace")
        done = perilune("model", "pull", f"hf:{TINY}:Q8_0")
        assert done.returncode == 0, done.stderr
        assert {token for _, _, token in hub.requests} == {"Bearer hf_planted"}
        assert {token for _, _, token in other.requests} == {None}
        assert "hf_planted" not in done.stdout + done.stderr
        other.files = {}
        refused = perilune("model", "pull", f"hf:{TINY}:Q8_0", "--force")
        assert refused.returncode == 1 and "status 404" in refused.stderr
        assert "planted" not in refused.stderr.split("error:")[-1]
    finally:
        other.close()


def test_twenty_kills_lose_nothing_that_was_saved(hub: Hub, home: Path, binary: Path, perilune: Run) -> None:
    hub.rate = MIB
    chance = random.Random(20)
    for _ in range(20):
        process = subprocess.Popen([binary, "model", "pull", f"hf:{TINY}:F16"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0.02, 1.0))
        assert process.poll() is None, "it was to be killed, and ended by itself"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert stored(home) == {}
    assert "tiny" not in perilune("model", "list").stdout
    hub.rate = 0
    told = pull(perilune, f"hf:{TINY}:F16")
    whole = hub.files["tiny-F16.gguf"]
    assert told["sha256"] == hashlib.sha256(whole).hexdigest() and list(stored(home)) == ["tiny:F16"]
    print(f"\n20 kills: {hub.sent / len(whole):.2f} times the file was sent")
    # Each kill may cost what four connections had not saved, and nothing more.
    assert hub.sent < len(whole) + 20 * 4 * MIB


def test_drops_a_stall_and_a_corrupted_byte_are_survived(hub: Hub, home: Path, perilune: Run) -> None:
    hub.drops, hub.stalls, hub.corruptions = 5, 1, 1
    told = pull(perilune, f"hf:{TINY}:Q4_K_M")
    assert (hub.drops, hub.stalls, hub.corruptions) == (0, 0, 0), "every fault has happened"
    assert told["sha256"] == hashlib.sha256(hub.files["tiny-Q4_K_M.gguf"]).hexdigest()
    assert list(stored(home)) == ["tiny:Q4_K_M"]


def test_what_stays_corrupted_is_refused(hub: Hub, home: Path, perilune: Run) -> None:
    hub.corruptions = 1000
    refused = perilune("model", "pull", f"hf:{TINY}:Q4_K_M", timeout=60)
    assert refused.returncode == 1 and "damaged" in refused.stderr, refused.stderr
    assert stored(home) == {} and list((home / "store/parts").iterdir()) == []


def test_two_pulls_of_one_file_are_one(hub: Hub, home: Path, binary: Path) -> None:
    hub.rate = 4 * MIB
    command = [binary, "model", "pull", f"hf:{TINY}:Q4_K_M", "--output", "json"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = []
    for process in both:
        out, error = process.communicate(timeout=60)
        assert process.returncode == 0, error
        told.append(json.loads(out))
    assert sorted(reply["was_there"] for reply in told) == [False, True]
    assert hub.sent < len(hub.files["tiny-Q4_K_M.gguf"]) + MIB
    assert list(stored(home)) == ["tiny:Q4_K_M"]


def test_servers_that_have_no_ranges_or_no_time_serve_too(hub: Hub, home: Path, perilune: Run) -> None:
    hub.ranges, hub.drops = False, 1
    hub.refusals = [503, 429]
    assert pull(perilune, f"hf:{TINY}:Q4_K_M")["name"] == "tiny:Q4_K_M"
    assert list(stored(home)) == ["tiny:Q4_K_M"]


def test_shards_become_one_file(hub: Hub, home: Path, perilune: Run) -> None:
    hub.files = {"Q8_0/tiny-Q8_0-00002-of-00002.gguf": MOONLET.read_bytes(), "tiny-Q2_K.gguf": large(MIB)}
    for lacking in (f"hf:{TINY}:Q8_0", f"hf:{TINY}/Q8_0/tiny-Q8_0-00002-of-00002.gguf"):
        missing = perilune("model", "pull", lacking)
        assert missing.returncode == 1 and "lacks some of the shards" in missing.stderr
    # What one lacks keeps nobody from the others.
    assert pull(perilune, f"hf:{TINY}:Q2_K")["name"] == "tiny:Q2_K"
    first, second = shards(MOONLET.read_bytes())
    hub.files = {"Q8_0/tiny-Q8_0-00001-of-00002.gguf": first, "Q8_0/tiny-Q8_0-00002-of-00002.gguf": second}
    told = pull(perilune, f"hf:{TINY}:Q8_0")
    assert told["name"] == "tiny:Q8_0" and list((home / "store/parts").iterdir()) == []
    asked = "return LocalLLM.generate('Hi', {{model = 'local/{}@candle', max_tokens = 8, temperature = 0}})"
    answers = [perilune("exec", asked.format(name)).stdout for name in ("tiny:Q8_0", "moonlet")]
    assert answers[0].strip() and answers[0] == answers[1]
    # Any of them stands for all.
    perilune("model", "remove", "tiny:Q8_0", "--yes")
    told = pull(perilune, f"hf:{TINY}/Q8_0/tiny-Q8_0-00002-of-00002.gguf")
    assert told["name"] == "tiny-Q8_0"
    assert perilune("exec", asked.format("tiny-Q8_0")).stdout == answers[0]


def shards(whole: bytes) -> tuple[bytes, bytes]:
    """Moonlet's file in two, as llama.cpp's gguf-split makes them: the metadata in the first, half of the tensors in each."""

    def number(key: str, value: int) -> bytes:
        return struct.pack("<Q", len(key)) + key.encode() + struct.pack("<IH", 2, value)

    gguf = GgufFile(MOONLET)
    _, tensors, pairs = struct.unpack_from("<IQQ", whole, 4)
    names = list(gguf.tensor_types)
    # A tensor's description goes from its name to its offset, and the first follows the metadata.
    ends = [gguf.tensor_offsets[name] + 8 for name in names]
    metadata_end = whole.index(struct.pack("<Q", len(names[0])) + names[0].encode())
    begins = [metadata_end, *ends[:-1]]
    offsets = [struct.unpack_from("<Q", whole, gguf.tensor_offsets[name])[0] for name in names]
    assert offsets == sorted(offsets)
    data = whole[(gguf.header_end + 31) // 32 * 32 :]
    limits = [*offsets[1:], len(data)]
    parts = []
    for part, chosen in enumerate((range(tensors // 2), range(tensors // 2, tensors))):
        base = offsets[chosen[0]]
        described = [whole[begins[i] : ends[i] - 8] + struct.pack("<Q", offsets[i] - base) for i in chosen]
        metadata = whole[24:metadata_end] if part == 0 else b""
        own = number("split.no", part) + number("split.count", 2)
        head = b"GGUF" + struct.pack("<IQQ", 3, len(chosen), 2 + (pairs if part == 0 else 0))
        head += metadata + own + b"".join(described)
        parts.append(head + bytes(-len(head) % 32) + data[base : limits[chosen[-1]]])
    return parts[0], parts[1]


def test_a_pull_that_is_cancelled_goes_on_later(hub: Hub, home: Path, binary: Path, perilune: Run) -> None:
    hub.rate = 2 * MIB
    process = subprocess.Popen([binary, "model", "pull", f"hf:{TINY}:Q4_K_M"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while arrived(home) <= MIB:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130 and stored(home) == {}
    came = arrived(home)
    assert came > MIB
    hub.rate, before = 0, hub.sent
    pull(perilune, f"hf:{TINY}:Q4_K_M")
    assert hub.sent - before <= len(hub.files["tiny-Q4_K_M.gguf"]) - came + MIB
    assert list(stored(home)) == ["tiny:Q4_K_M"]


def test_paths_and_addresses_come_into_the_store_too(hub: Hub, home: Path, perilune: Run, tmp_path: Path) -> None:
    shutil.copy(MOONLET, tmp_path / "my model.gguf")
    told = pull(perilune, str(tmp_path / "my model.gguf"))
    assert told["name"] == "my-model" and (tmp_path / "my model.gguf").exists()
    assert pull(perilune, f"file://{tmp_path}/my%20model.gguf")["was_there"], "the same file, written as an address"
    (home / "config.toml").write_text("[downloads]\nallow_loopback = true\n")
    told = pull(perilune, hub.url("tiny-Q4_K_M.gguf"), "--name", "by-address")
    assert (told["name"], told["quantization"]) == ("by-address", "Q4_K_M")
    assert set(stored(home)) == {"my-model", "by-address"}
    assert pull(perilune, hub.url("tiny-Q4_K_M.gguf"), "--name", "by-address")["was_there"]

    hub.files |= {"page.gguf": b"<!doctype html>" + bytes(100), "model.bin": b"\x80\x04pickle" + bytes(100)}
    for spec, problem in [
        (f"{hub.address}/page", "a page for people"),
        (hub.url("page.gguf"), "is not a GGUF file"),
        (hub.url("model.bin"), "is not a GGUF file"),
        (f"{hub.address}/to/http://10.0.0.1/m.gguf", "in a private network"),
        (f"{hub.address}/to/file:///etc/passwd", "is refused"),
        (hub.url("nothing.gguf"), "status 404"),
        (str(tmp_path / "nothing.gguf"), "No such file"),
        (f"hf:{TINY}:Q3_K_S", "has no `Q3_K_S`; it has `F16`, `Q4_K_M`, `Q8_0`"),
        ("hf:nobody/nothing:Q8_0", "is not a repository of"),
        ("tinylama", "did you mean `tinyllama`"),
    ]:
        refused = perilune("model", "pull", spec, timeout=60)
        assert refused.returncode == 1 and problem in refused.stderr, (spec, refused.stderr)
    sent = hub.sent
    for spec in (hub.url("tiny-F16.gguf"), f"hf:{TINY}:F16"):
        taken = perilune("model", "pull", spec, "--name", "by-address")
        assert taken.returncode == 1 and "has another model `by-address`" in taken.stderr, taken.stderr
    assert hub.sent == sent, "a name that is taken is known before anything comes"
    assert set(stored(home)) == {"my-model", "by-address"}
    assert list((home / "store/parts").iterdir()) == [], "of what is refused nothing is left"


def test_a_name_that_another_model_has_is_refused(hub: Hub, home: Path, perilune: Run) -> None:
    own = home / "models/own.gguf"
    own.write_bytes(hub.files["tiny-Q8_0.gguf"])
    for spec, options, place in [
        (f"hf:{TINY}:Q8_0", ["--name", "moonlet"], "bundled"),
        (f"hf:{TINY}:Q8_0", ["--name", "own", "--force"], str(own)),
        (str(own), [], str(own)),
    ]:
        refused = perilune("model", "pull", spec, *options)
        assert refused.returncode == 1 and place in refused.stderr and "`--name`" in refused.stderr, refused.stderr
    assert hub.sent == 0 and stored(home) == {}
    assert pull(perilune, str(own), "--name", "other")["name"] == "other"


def test_what_is_left_of_a_pull_is_seen_and_removed(hub: Hub, home: Path, binary: Path, perilune: Run) -> None:
    hub.rate = 2 * MIB
    pulls = {name: subprocess.Popen([binary, "model", "pull", f"hf:{TINY}:{name}"], stderr=subprocess.DEVNULL) for name in ("F16", "Q4_K_M")}
    try:
        while len(list((home / "store/parts").glob("*.json"))) < 2:
            with contextlib.suppress(subprocess.TimeoutExpired):
                pulls["F16"].wait(0.02)
            assert all(process.poll() is None for process in pulls.values())
        pulls["F16"].kill()
        pulls["F16"].wait()

        def unfinished() -> dict[str, dict[str, object]]:
            places = json.loads(perilune("model", "storage", "--output", "json").stdout)["places"]
            (ours,) = [place for place in places if place["ours"]]
            return {download["source"].rsplit("/", 1)[-1]: download for download in ours["unfinished"]}

        told = unfinished()
        assert {name: download["under_way"] for name, download in told.items()} == {"tiny-F16.gguf": False, "tiny-Q4_K_M.gguf": True}
        left = told["tiny-F16.gguf"]
        assert left["bytes"] >= left["completed_bytes"] > 0 and left["total_bytes"] == 64 * MIB
        shown = perilune("model", "storage").stdout
        assert "tiny-F16.gguf" in shown and "under way" in shown and "remove --unfinished" in shown, shown

        asked = perilune("model", "remove", "--unfinished")
        assert asked.returncode == 2 and "delete 1 unfinished download," in asked.stderr and "--yes" in asked.stderr, asked.stderr
        removed = perilune("model", "remove", "--unfinished", "--yes")
        assert removed.returncode == 0 and "1 unfinished download deleted" in removed.stdout, removed.stderr
        assert list(unfinished()) == ["tiny-Q4_K_M.gguf"], "what is under way stays"
        hub.rate = 0
        assert pulls["Q4_K_M"].wait(60) == 0
    finally:
        for process in pulls.values():
            process.kill()
            process.wait()
    assert list(stored(home)) == ["tiny:Q4_K_M"] and list((home / "store/parts").iterdir()) == []
    assert "nothing" in perilune("model", "remove", "--unfinished").stdout


REFUSED = [
    "http://localhost:8000",
    "http://[::1]:8000",
    "https://[::1]",
    "https://127.0.0.2",
    "https://LOCALHOST",
    "https://a@localhost",
    "https://172.16.0.1",
    "https://169.254.169.254",
    "https://2130706433",
    "https://0177.0.0.1",
    "https://[::ffff:127.0.0.1]",
    "http://1.1.1.1",
]


def test_addresses_that_are_not_public_are_refused(hub: Hub, home: Path, perilune: Run) -> None:
    for address in REFUSED:
        refused = perilune("model", "pull", f"{address}/m.gguf")
        assert refused.returncode == 1 and "is refused" in refused.stderr, (address, refused.stderr)
    named = perilune("model", "pull", "https://10.example.com/m.gguf", timeout=60)
    assert named.returncode == 1 and "is refused" not in named.stderr, named.stderr
    # The Hub is where the user's environment says; where it sends us is not the user's word.
    other = Hub("none/none", hub.files)
    try:
        hub.redirect = other.url("tiny-Q8_0.gguf")
        refused = perilune("model", "pull", f"hf:{TINY}:Q8_0")
        assert refused.returncode == 1 and "is refused" in refused.stderr, refused.stderr
        assert other.requests == []
    finally:
        other.close()
    # A project's file may not allow it.
    project = home / "project"
    project.mkdir()
    (project / "perilune.toml").write_text("[downloads]\nallow_loopback = true\n")
    refused = perilune("model", "pull", hub.url("tiny-Q8_0.gguf"), cwd=project)
    assert refused.returncode == 1 and "is refused" in refused.stderr and "was ignored" in refused.stderr, refused.stderr
    assert stored(home) == {}


def test_offline_the_cache_of_others_serves(hub: Hub, home: Path, perilune: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused = perilune("model", "pull", f"hf:{TINY}:Q8_0")
    assert refused.returncode == 1 and "HF_HUB_OFFLINE" in refused.stderr
    cache = tmp_path / "huggingface/hub/models--lab--tiny-GGUF"
    blob = cache / "blobs" / hashlib.sha256(hub.files["tiny-Q8_0.gguf"]).hexdigest()
    blob.parent.mkdir(parents=True)
    blob.write_bytes(hub.files["tiny-Q8_0.gguf"])
    (cache / f"snapshots/{COMMIT}").mkdir(parents=True)
    (cache / f"snapshots/{COMMIT}/tiny-Q8_0.gguf").symlink_to(blob)
    (cache / "refs").mkdir()
    (cache / "refs/main").write_text(COMMIT)
    told = pull(perilune, f"hf:{TINY}:Q8_0")
    assert (told["name"], told["revision"]) == ("tiny:Q8_0", COMMIT)
    assert hub.requests == [] and blob.exists() and list(stored(home)) == ["tiny:Q8_0"]


def test_offline_the_store_serves(hub: Hub, home: Path, perilune: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pull(perilune, f"hf:{TINY}:Q8_0", "--name", "mine")
    pull(perilune, f"hf:{TINY}:Q4_K_M", "--name", "nothing")
    asked = len(hub.requests)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert pull(perilune, f"hf:{TINY}:Q8_0", "--name", "other")["was_there"] and set(stored(home)) == {"mine", "nothing", "other"}
    for spec, name in ((f"hf:{TINY}:q8_0", "mine"), (f"hf:{TINY}/tiny-Q8_0.gguf", "mine"), (f"hf:{TINY}", "nothing")):
        told = pull(perilune, spec)
        assert (told["name"], told["was_there"]) == (name, True), spec
    for options, words in (([f"hf:{TINY}:F16"], "neither in the store nor"), ([f"hf:{TINY}:Q8_0", "--force"], "is not in the Hugging Face cache")):
        refused = perilune("model", "pull", *options)
        assert refused.returncode == 1 and words in refused.stderr, refused.stderr
    assert len(hub.requests) == asked


def namespace(script: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """Runs a script as root of a mount namespace of its own, or skips the test where that is not allowed."""
    command = ["unshare", "--mount", "--map-root-user", "bash", "-euc"]
    if shutil.which("unshare") is None or subprocess.run([*command, "mount -t tmpfs none /mnt"], capture_output=True).returncode != 0:
        pytest.skip("NOT TESTED: no mount namespace can be made here")
    return subprocess.run([*command, script], capture_output=True, text=True, timeout=120, **settings)  # type: ignore[call-overload]


def test_a_full_disk_keeps_what_came(hub: Hub, home: Path, binary: Path) -> None:
    hub.rate = 2 * MIB
    # First the disk is too small from the start, then somebody else fills it meanwhile, then there is room.
    done = namespace(f"""
        mount -t tmpfs -o size=40m none {home}
        {binary} model pull hf:{TINY}:F16 2> {home}/small && exit 11
        cat {home}/small
        {binary} model pull hf:{TINY}:Q4_K_M 2> {home}/full & pull=$!
        until compgen -G '{home}/store/parts/*.json' > /dev/null; do sleep 0.05; done
        dd if=/dev/zero of={home}/filler bs=1M 2> /dev/null || true
        wait $pull && exit 12
        rm {home}/filler
        cat {home}/full
        {binary} model list
        ls {home}/store/names 2> /dev/null && exit 13
        {binary} model pull hf:{TINY}:Q4_K_M
        sha256sum {home}/store/blobs/*
    """)
    assert done.returncode == 0, done.stdout + done.stderr
    too_small, _, later = done.stdout.partition("no room for `tiny-F16.gguf`")
    assert later and "No space left on device" in later, done.stdout
    assert hashlib.sha256(hub.files["tiny-Q4_K_M.gguf"]).hexdigest() in done.stdout


def test_a_name_that_leads_into_a_private_network_is_refused(hub: Hub, home: Path, binary: Path, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("10.1.2.3 models.example.com\n127.0.0.1 localhost\n")
    done = namespace(f"mount --bind {hosts} /etc/hosts; {binary} model pull https://models.example.com/m.gguf 2>&1 || true")
    assert "`models.example.com` resolves to 10.1.2.3, which is in a private network" in done.stdout, done.stdout


class Proxy:
    """A proxy that is asked for names and reaches nobody; how often anybody connected to it, and for which hosts it was asked."""

    def __init__(self) -> None:
        self.connections, self.asked = 0, []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def setup(self) -> None:
                proxy.connections += 1
                super().setup()

            def do_CONNECT(self) -> None:
                proxy.asked.append(self.path)
                self.send_error(502)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


def test_a_proxy_leads_into_no_private_network(hub: Hub, binary: Path, tmp_path: Path) -> None:
    proxy = Proxy()
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost inner.example.com\n10.1.2.3 private.example.com\n")

    def pulled(address: str, **variables: str) -> str:
        command = f"mount --bind {hosts} /etc/hosts; {binary} model pull {address} 2>&1 || true"
        return namespace(command, env=os.environ | variables).stdout

    # A proxy's own name is no way to its machine for what does not go by way of it.
    inner = f"http://inner.example.com:{proxy.port}"
    for exceptions in ("inner.example.com", "*"):
        told = pulled(f"https://inner.example.com:{proxy.port}/m.gguf", https_proxy=inner, no_proxy=exceptions)
        assert "`inner.example.com` resolves to 127.0.0.1, which is this machine" in told, told
    # What goes by way of it is checked as well as can be from here.
    for address, problem in [
        ("https://inner.example.com/m.gguf", "resolves to 127.0.0.1"),
        ("https://private.example.com/m.gguf", "resolves to 10.1.2.3"),
        ("https://10.1.2.3/m.gguf", "in a private network"),
        ("https://localhost/m.gguf", "this machine"),
    ]:
        told = pulled(address, all_proxy=inner)
        assert problem in told and "is refused" in told, told
    assert proxy.connections == 0
    # A name that only the proxy knows is the proxy's to judge, whose own address is the user's decision.
    told = pulled("https://elsewhere.example.invalid/m.gguf", https_proxy=inner)
    assert set(proxy.asked) == {"elsewhere.example.invalid:443"} and "is refused" not in told, told
    proxy.server.shutdown()
    proxy.server.server_close()


def test_lua_and_model_requests_pull_and_are_told(hub: Hub, home: Path, perilune: Run, frontend: Frontend) -> None:
    hub.rate = 16 * MIB
    exchange = frontend.model("pull", spec=f"hf:{TINY}:Q4_K_M")
    assert exchange.reply["name"] == "tiny:Q4_K_M", exchange.reply
    told = [arrival.content for arrival in exchange.all("model_event") if arrival.content["event"] == "pull"]
    assert {"downloading", "verifying"} <= {event["stage"] for event in told}
    assert all(event["total_bytes"] == len(hub.files["tiny-Q4_K_M.gguf"]) for event in told)
    assert [event["completed_bytes"] for event in told if event["stage"] == "downloading"][-1] == 24 * MIB

    script = f"""
        local seen = 0
        local model = LocalLLM.pull("hf:{TINY}:Q8_0", {{ on_progress = function(p) seen = math.max(seen, p.completed_bytes) end }})
        return model.specifier, seen == model.size_bytes, #LocalLLM.generate("Hi", {{ model = model.specifier, max_tokens = 3 }}) > 0
    """
    done = perilune("exec", script)
    assert done.stdout.split() == ["local/tiny:Q8_0@candle", "true", "true"], done.stderr
    failed = perilune("exec", "local ok, error = pcall(LocalLLM.pull, 'https://127.0.0.1/m.gguf') return error.kind")
    assert failed.stdout.strip() == "invalid_request"
    refused = frontend.model("pull", spec="https://127.0.0.1/m.gguf").reply
    assert refused["kind"] == "invalid_request" and "is refused" in refused["evalue"]
    refused = frontend.model("pull", spec=f"hf:{TINY}:F16", nmae="mine").reply
    assert refused["kind"] == "invalid_request" and "`nmae`" in refused["evalue"] and "`name`" in refused["evalue"], refused
