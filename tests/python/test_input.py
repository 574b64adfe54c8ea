"""`io.read` and the stdin channel."""

import zmq
from frontend import PATIENCE, Frontend
from jupyter_client import KernelManager
from jupyter_client.session import Session


def test_io_read_asks_the_client_that_sent_the_cell(frontend: Frontend) -> None:
    frontend.answers = ["Ada"]
    exchange = frontend.execute("io.write('name? ') local name = io.read() print('hello ' .. name)", allow_stdin=True)
    request = exchange.first("input_request")
    assert request is not None and request.channel == "stdin"
    assert request.content["password"] is False
    assert "hello Ada\n" in exchange.stream()


def test_what_was_printed_is_seen_before_the_question(frontend: Frontend) -> None:
    exchange = frontend.start("print('read this first') io.read() print('thanks')", allow_stdin=True)
    frontend.wait(lambda: exchange.first("input_request"), "the question")
    frontend.wait(lambda: "read this first" in exchange.stream(), "what was printed before the question")
    assert "thanks" not in exchange.stream()
    frontend.client.input("go")
    assert "thanks" in frontend.finish(exchange).stream()


def test_several_reads_get_several_answers(frontend: Frontend) -> None:
    frontend.answers = ["12", "30", "rest of it"]
    exchange = frontend.execute(
        "local a, b = io.read('n'), io.read('n') local line = io.read('l') return a + b, line", allow_stdin=True
    )
    assert "42" in exchange.result


def test_a_client_without_stdin_gets_an_error_not_a_hang(frontend: Frontend) -> None:
    exchange = frontend.execute("io.read()", allow_stdin=False)
    assert exchange.reply["status"] == "error"
    assert "input" in exchange.reply["evalue"]
    assert exchange.first("input_request") is None


def test_the_error_can_be_caught(frontend: Frontend) -> None:
    assert frontend.execute("return pcall(io.read)", allow_stdin=False).result.startswith("false")


def test_a_cell_that_waits_for_input_can_be_interrupted(frontend: Frontend) -> None:
    exchange = frontend.start("kept = 5 io.read()", allow_stdin=True)
    frontend.wait(lambda: exchange.first("input_request"), "the question")
    frontend.ask("interrupt_request", channel="control")
    assert frontend.finish(exchange).reply["ename"] == "Interrupted"
    assert frontend.execute("return kept").result == "5"


def test_an_answer_nobody_asked_for_is_not_given_to_the_next_question(frontend: Frontend) -> None:
    frontend.client.input("stale")
    frontend.execute("1")
    frontend.answers = ["fresh"]
    assert "fresh" in frontend.execute("return io.read()", allow_stdin=True).result


def test_a_prompt_without_a_line_end_comes_before_its_question(frontend: Frontend) -> None:
    """Text waits for more text, for up to 50 ms after the last; a question must not overtake it."""
    code = "io.write('a') local began = os.clock() while os.clock() < began + 0.01 do end io.write('Name? ') io.read()"
    exchange = frontend.start(code, allow_stdin=True)
    frontend.wait(lambda: exchange.first("input_request"), "the question")
    lag = 0.02
    assert frontend.pump_until(lambda: exchange.stream() == "aName? ", exchange.first("input_request").at + lag)
    frontend.client.input("Ada")
    frontend.finish(exchange)


def test_a_late_answer_that_says_what_it_answers_goes_nowhere_else(frontend: Frontend) -> None:
    interrupted = frontend.start("io.read()", allow_stdin=True)
    frontend.wait(lambda: interrupted.first("input_request"), "the first question")
    frontend.ask("interrupt_request", channel="control")
    frontend.finish(interrupted)
    running = frontend.start("return io.read()", allow_stdin=True)
    frontend.wait(lambda: running.first("input_request"), "the second question")
    for question, answer in ((interrupted, "late"), (running, "in time")):
        parent = question.first("input_request").message["header"]
        message = frontend.session.msg("input_reply", {"value": answer}, parent={"header": parent})
        frontend.client.stdin_channel.send(message)
    assert frontend.finish(running).result == "in time"


def test_input_shows_a_prompt_and_can_hide_what_is_typed(frontend: Frontend) -> None:
    frontend.answers = ["Ada", "s3cret", ""]
    exchange = frontend.execute(
        "local name = input('Name? ') local word = input('Password? ', {password = true}) return name .. word .. input() .. '.'",
        allow_stdin=True,
    )
    assert exchange.result == "Adas3cret."
    asked = [(arrival.content["prompt"], arrival.content["password"]) for arrival in exchange.all("input_request")]
    assert asked == [("Name? ", False), ("Password? ", True), ("", False)]


def test_a_client_without_stdin_is_told_so_by_name(frontend: Frontend) -> None:
    for code in ("io.read()", "input('Name? ')"):
        exchange = frontend.execute(code, allow_stdin=False)
        assert exchange.reply["ename"] == "StdinNotAllowed", code
        assert exchange.first("error").content["ename"] == "StdinNotAllowed"
    caught = "local ok, problem = pcall(input) return problem.kind"
    assert frontend.execute(caught, allow_stdin=False).result == "input_not_allowed"


def test_input_says_what_is_wrong_with_its_arguments(frontend: Frontend) -> None:
    for code, words in [
        ("input({})", "string expected, got table"),
        ("input('x', true)", "table expected, got boolean"),
        ("input('x', {pasword = true})", "known: `password`"),
        ("input('x', {password = 1})", "expected true or false"),
    ]:
        reply = frontend.execute(code, allow_stdin=True).reply
        assert words in reply["evalue"], reply


def asking(context: zmq.Context, manager: KernelManager, session: Session) -> zmq.Socket:
    """A client whose cell asks for a line, and that has no stdin yet."""
    shell = context.socket(zmq.DEALER)
    shell.linger = 0
    shell.identity = session.bsession
    shell.connect(f"tcp://127.0.0.1:{manager.shell_port}")
    session.send(shell, "execute_request", {"code": "print('asking') return io.read()", "allow_stdin": True})
    return shell


def test_a_question_waits_for_a_client_that_is_still_connecting(manager: KernelManager, frontend: Frontend) -> None:
    session = Session(key=manager.session.key)
    with zmq.Context() as context, asking(context, manager, session) as shell:
        frontend.wait(lambda: any(arrival.content.get("text") == "asking\n" for arrival in frontend.strangers), "the cell to ask")
        with context.socket(zmq.DEALER) as stdin:
            stdin.linger = 0
            stdin.identity = session.bsession
            stdin.connect(f"tcp://127.0.0.1:{manager.stdin_port}")
            assert stdin.poll(1000 * PATIENCE), "the question did not come"
            _, question = session.recv(stdin)
            assert question["msg_type"] == "input_request"
            session.send(stdin, "input_reply", {"value": "late but there"}, parent=question)
            assert shell.poll(1000 * PATIENCE)
            _, reply = session.recv(shell)
            assert reply["content"]["status"] == "ok", reply


def test_a_client_that_never_connects_its_stdin_is_told_so(manager: KernelManager, frontend: Frontend) -> None:
    session = Session(key=manager.session.key)
    with zmq.Context() as context, asking(context, manager, session) as shell:
        assert shell.poll(1000 * PATIENCE), "it still waits"
        _, reply = session.recv(shell)
        assert reply["content"]["status"] == "error"
        assert "stdin" in reply["content"]["evalue"]
    assert frontend.execute("return 6 * 7").result == "42"
