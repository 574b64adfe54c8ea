"""Messages that are not signed by the key's owner, or were sent before, have no effect; the kernel goes on serving the others."""

from collections.abc import Callable

import pytest
from frontend import Frontend
from jupyter_client.session import Session

CODE = "count = (count or 0) + 1"


def execute_request(session: Session, code: str = CODE) -> list[bytes]:
    content = {
        "code": code,
        "silent": False,
        "store_history": True,
        "user_expressions": {},
        "allow_stdin": False,
        "stop_on_error": True,
    }
    return session.serialize(session.msg("execute_request", content))


def assert_nothing_ran(frontend: Frontend) -> None:
    """A channel's requests of one client are received in order: once these are answered, those before them are past."""
    frontend.ask("kernel_info_request", channel="control")
    assert frontend.execute("return count == nil").result == "true"
    assert frontend.strangers == [], "a forged request was answered"


def wrong_key(session: Session) -> list[bytes]:
    return execute_request(Session(key=b"not the key"))


def no_signature(session: Session) -> list[bytes]:
    return execute_request(Session(key=b""))


def changed_after_signing(session: Session) -> list[bytes]:
    frames = execute_request(session, "return 1")
    return [*frames[:-1], frames[-1].replace(b"return 1", CODE.encode())]


def another_header(session: Session) -> list[bytes]:
    signed, other = execute_request(session), execute_request(session)
    return [*signed[:2], other[2], *signed[3:]]


@pytest.mark.parametrize("forge", [wrong_key, no_signature, changed_after_signing, another_header])
@pytest.mark.parametrize("channel", ["shell", "control"])
def test_a_forged_request_has_no_effect(frontend: Frontend, forge: Callable[[Session], list[bytes]], channel: str) -> None:
    socket = frontend.channels[channel].socket
    for _ in range(20):
        socket.send_multipart(forge(frontend.session))
    assert_nothing_ran(frontend)


def test_a_replayed_request_runs_once(frontend: Frontend) -> None:
    frames = execute_request(frontend.session)
    for _ in range(5):
        frontend.channels["shell"].socket.send_multipart(frames)
    assert frontend.execute("return count").result == "1"


def test_a_request_replayed_by_another_client_does_not_run(connect: Callable[[], Frontend]) -> None:
    one, two = connect(), connect()
    frames = execute_request(one.session)
    one.channels["shell"].socket.send_multipart(frames)
    assert one.execute("return count").result == "1"
    two.channels["shell"].socket.send_multipart(frames)
    assert two.execute("return count").result == "1"


def test_a_replayed_interrupt_does_not_interrupt(frontend: Frontend) -> None:
    frames = frontend.session.serialize(frontend.session.msg("interrupt_request", {}))
    control = frontend.channels["control"].socket
    control.send_multipart(frames)
    frontend.ask("kernel_info_request", channel="control")
    running = frontend.start("print('going') while not stop do end")
    frontend.wait(lambda: running.stream(), "the cell to run")
    control.send_multipart(frames)
    frontend.ask("kernel_info_request", channel="control")
    assert running.answer is None, "the replayed interrupt was obeyed"
    frontend.ask("interrupt_request", channel="control")
    frontend.finish(running)


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"<IDS|MSG>"],
        [b"<IDS|MSG>", b"", b"{}", b"{}", b"{}", b"{}"],
        [b"<IDS|MSG>", b"0" * 64, b"{}", b"{}", b"{}"],
        [b"no delimiter", b"at all"],
        [b"\xff" * 1000] * 50,
        [b"<IDS|MSG>"] * 7,
    ],
    ids=["empty", "delimiter only", "unsigned", "too few", "no delimiter", "fifty frames", "delimiters"],
)
def test_frames_that_are_no_message_are_dropped(frontend: Frontend, frames: list[bytes]) -> None:
    for channel in ("shell", "control", "stdin"):
        frontend.channels[channel].socket.send_multipart(frames)
    assert frontend.execute("return 1").result == "1"


@pytest.mark.parametrize("content", [b"not json", b"[]", b"null", b'{"code": "x', b"\xff\xfe", b"[" * 100_000])
def test_signed_frames_that_do_not_parse_are_dropped_or_refused(frontend: Frontend, content: bytes) -> None:
    """The key's owner may be broken too: a right signature over something that is no message."""
    session = frontend.session
    header, parent, metadata, _ = execute_request(session)[2:6]
    for parts in (
        [header, parent, metadata, content],
        [content, parent, metadata, b"{}"],
        [header, content, metadata, b'{"code":"1"}'],
    ):
        frontend.channels["shell"].socket.send_multipart([b"<IDS|MSG>", session.sign(parts), *parts])
    assert frontend.execute("return count == nil").result == "true"
