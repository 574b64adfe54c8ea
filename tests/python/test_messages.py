"""Requests and their answers, as real clients see them: kernel_info, execute, is_complete, complete, comm_info."""

from collections.abc import Callable

import pytest
from frontend import Exchange, Frontend


def states(exchange: Exchange) -> list[str]:
    return [arrival.content["execution_state"] for arrival in exchange.all("status")]


def test_kernel_info_says_what_frontends_need(frontend: Frontend) -> None:
    info = frontend.ask("kernel_info_request").reply
    assert info["status"] == "ok"
    assert tuple(map(int, info["protocol_version"].split("."))) >= (5, 3)
    assert info["implementation"] == "perilune"
    assert info["implementation_version"]
    assert "Perilune" in info["banner"]
    assert info["language_info"] == info["language_info"] | {
        "name": "lua",
        "file_extension": ".lua",
        "mimetype": "text/x-lua",
        "pygments_lexer": "lua",
        "codemirror_mode": "lua",
    }
    assert info["language_info"]["version"].startswith("5.4")


def test_every_request_is_bracketed_by_busy_and_idle(frontend: Frontend) -> None:
    requests = [
        ("kernel_info_request", {}),
        ("is_complete_request", {"code": "x = 1"}),
        ("complete_request", {"code": "pri", "cursor_pos": 3}),
        ("comm_info_request", {}),
        ("execute_request", {"code": "print(1)"}),
        ("execute_request", {"code": "error('no')"}),
        ("model_request", {"command": "status"}),
    ]
    before = len(frontend.unparented)
    for kind, content in requests:
        exchange = frontend.ask(kind, content)
        assert states(exchange) == ["busy", "idle"], kind
        assert exchange.published[0].kind == exchange.published[-1].kind == "status", kind
    assert frontend.unparented[before:] == [], "nothing unparented may come between"


def test_busy_comes_before_everything_and_idle_after(frontend: Frontend) -> None:
    kinds = [arrival.kind for arrival in frontend.execute("print('out') return 7").published]
    assert kinds == ["status", "execute_input", "stream", "execute_result", "status"]


def test_an_expression_has_a_result_and_a_statement_has_none(frontend: Frontend) -> None:
    expression = frontend.execute("6 * 7")
    assert expression.result == "42"
    assert expression.reply["status"] == "ok"
    assert expression.reply["user_expressions"] == {}
    assert expression.first("execute_result").content["metadata"] == {}
    assert frontend.execute("answer = 6 * 7").first("execute_result") is None
    assert frontend.execute("return answer").result == "42"


def test_executions_are_counted(frontend: Frontend) -> None:
    counts = [frontend.execute("1").reply["execution_count"] for _ in range(3)]
    assert counts == [1, 2, 3]
    echoed = frontend.execute("1").first("execute_input").content
    assert echoed == {"code": "1", "execution_count": 4}


def test_globals_and_top_level_locals_last_across_cells(frontend: Frontend) -> None:
    frontend.execute("local first = 20\nsecond = 22")
    assert frontend.execute("return first + second").result == "42"


def test_an_error_is_told_in_the_reply_and_on_iopub(frontend: Frontend) -> None:
    exchange = frontend.execute("local function deep()\n  error('on purpose')\nend\n\ndeep()")
    published = exchange.first("error").content
    assert exchange.reply["status"] == "error"
    assert exchange.reply["ename"] == published["ename"] == "LuaError"
    assert "on purpose" in exchange.reply["evalue"]
    assert exchange.reply["evalue"] == published["evalue"]
    assert exchange.reply["traceback"] == published["traceback"]
    assert isinstance(exchange.reply["traceback"], list)
    assert exchange.first("execute_result") is None


def test_a_traceback_names_cells_and_lines(frontend: Frontend) -> None:
    frontend.execute("function helper()\n  error('deep inside')\nend")
    exchange = frontend.execute("\n\nlocal value = helper()")
    defined, called = exchange.reply["execution_count"] - 1, exchange.reply["execution_count"]
    traceback = "\n".join(exchange.reply["traceback"])
    assert f"cell {defined}:2" in traceback, traceback
    assert f"cell {called}:3" in traceback, traceback


def test_a_syntax_error_names_the_line(frontend: Frontend) -> None:
    reply = frontend.execute("x = 1\ny = = 2").reply
    assert reply["status"] == "error"
    assert reply["ename"] == "SyntaxError"
    assert ":2:" in reply["evalue"], reply["evalue"]
    assert frontend.execute("return x").first("execute_result") is None, "nothing of a cell with a syntax error runs"


def test_a_non_string_error_is_told_too(frontend: Frontend) -> None:
    for value, told in [
        ("{ code = 7 }", "table"),
        ("nil", "nil"),
        ("42", "42"),
        ("setmetatable({}, { __tostring = function() return 'mine' end })", "mine"),
        ("setmetatable({}, { __tostring = function() error('worse') end })", ""),
    ]:
        reply = frontend.execute(f"error({value})").reply
        assert reply["status"] == "error", value
        assert told in reply["evalue"], value


def test_a_cell_after_an_error_runs(frontend: Frontend) -> None:
    assert frontend.execute("error('first')").reply["status"] == "error"
    assert frontend.execute("return 'second'").result in ("second", "'second'", '"second"')


def test_cells_queued_behind_an_error_are_refused(frontend: Frontend) -> None:
    failing, *queued = frontend.start_behind("io.read() error('stop here')", *[f"ran = {number}" for number in range(3)])
    frontend.client.input("go")
    assert frontend.finish(failing).reply["ename"] == "LuaError"
    for exchange in queued:
        assert frontend.finish(exchange).reply["status"] == "error"
        assert set(exchange.reply) >= {"ename", "evalue", "traceback"}
        assert states(exchange) == ["busy", "idle"]
    assert frontend.execute("return ran == nil").result == "true"


def test_cells_queued_behind_an_error_run_when_the_client_says_so(frontend: Frontend) -> None:
    failing, queued = frontend.start_behind("io.read() error('go on')", "return 'ran'", stop_on_error=False)
    frontend.client.input("go")
    assert frontend.finish(failing).reply["status"] == "error"
    assert frontend.finish(queued).reply["status"] == "ok"


def test_an_error_of_one_client_is_nothing_to_the_cells_of_another(connect: Callable[[], Frontend], frontend: Frontend) -> None:
    other = connect()
    failing, behind = frontend.start_behind("io.read() error('stop here')", "return 'mine'")
    theirs = other.start("return 'theirs'")
    other.model("cancel", request="none")  # overtakes the queue, but not on the way to it
    frontend.client.input("go")
    assert frontend.finish(behind).reply["ename"] == "Aborted"
    assert other.finish(theirs).result == "theirs"


def test_a_silent_cell_shows_and_counts_nothing(frontend: Frontend) -> None:
    before = frontend.execute("1").reply["execution_count"]
    silent = frontend.execute("quiet = 5 return quiet", silent=True)
    assert [arrival.kind for arrival in silent.published] == ["status", "status"]
    assert silent.reply["status"] == "ok"
    after = frontend.execute("return quiet")
    assert after.result == "5"
    assert after.reply["execution_count"] == before + 1


def test_user_expressions_are_evaluated_after_the_cell(frontend: Frontend) -> None:
    reply = frontend.execute("x = 20", user_expressions={"sum": "x + 22", "wrong": "x.y.z"}).reply
    assert reply["status"] == "ok"
    assert reply["user_expressions"]["sum"]["status"] == "ok"
    assert reply["user_expressions"]["sum"]["data"]["text/plain"] == "42"
    assert reply["user_expressions"]["wrong"]["status"] == "error"
    assert set(reply["user_expressions"]["wrong"]) >= {"ename", "evalue", "traceback"}


def test_os_exit_does_not_end_a_notebooks_kernel(frontend: Frontend) -> None:
    frontend.execute("before = 1")
    frontend.execute("os.exit(3)")
    assert frontend.execute("return before").result == "1"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("x = 1", "complete"),
        ("1 + 1", "complete"),
        ("for i = 1, 3 do", "incomplete"),
        ("print([[", "incomplete"),
        ("function f()\n  if x then", "incomplete"),
        ("x = = 1", "invalid"),
        ("end", "invalid"),
        ("", "complete"),
    ],
)
def test_is_complete(frontend: Frontend, code: str, status: str) -> None:
    reply = frontend.ask("is_complete_request", {"code": code}).reply
    assert reply["status"] == status
    if status == "incomplete":
        assert isinstance(reply["indent"], str)


def test_completion_of_globals_and_fields(frontend: Frontend) -> None:
    frontend.execute("preposterous = { inner = { depth = 1 } }\nlocal prefix_local = 2")
    for code, match in [
        ("prepos", "preposterous"),
        ("x = string.for", "string.format"),
        ("preposterous.inner.de", "preposterous.inner.depth"),
        ("prefix_lo", "prefix_local"),
        ("LocalLLM.gen", "LocalLLM.generate"),
    ]:
        reply = frontend.ask("complete_request", {"code": code, "cursor_pos": len(code)}).reply
        assert reply["status"] == "ok"
        assert reply["metadata"] == reply.get("metadata", {})
        completed = [code[: reply["cursor_start"]] + text + code[reply["cursor_end"] :] for text in reply["matches"]]
        assert any(text.endswith(match) for text in completed), (code, reply)


def test_completion_counts_characters_not_bytes(frontend: Frontend) -> None:
    code = "s = 'größer 🌙' ; string.rep_"[:-1]
    reply = frontend.ask("complete_request", {"code": code, "cursor_pos": len(code)}).reply
    assert reply["cursor_end"] == len(code)
    assert any(code[: reply["cursor_start"]] + text == code for text in reply["matches"]), reply


def test_completion_runs_no_user_code(frontend: Frontend) -> None:
    frontend.execute("trap = setmetatable({}, { __index = function() touched = true end })")
    frontend.ask("complete_request", {"code": "trap.field.more", "cursor_pos": 15})
    assert frontend.execute("return touched == nil").result == "true"


def test_comm_info_lists_no_comms(frontend: Frontend) -> None:
    assert frontend.ask("comm_info_request").reply == {"status": "ok", "comms": {}}


def test_a_request_of_an_unknown_type_goes_idle_and_hurts_nobody(frontend: Frontend) -> None:
    exchange = frontend.send("no_such_request", {"x": 1})
    frontend.wait(lambda: exchange.idle, "idle after an unknown request")
    assert frontend.execute("1").result == "1"


def test_lenient_content(frontend: Frontend) -> None:
    exchange = frontend.ask("execute_request", {"code": "return 1", "something_new": True, "user_expressions": None})
    assert exchange.reply["status"] == "ok"


def test_invalid_content_is_answered_with_an_error(frontend: Frontend) -> None:
    for kind, content in [
        ("execute_request", {"code": 7}),
        ("execute_request", {}),
        ("complete_request", {"code": "x", "cursor_pos": "y"}),
    ]:
        exchange = frontend.ask(kind, content)
        assert exchange.reply["status"] == "error", kind
        assert set(exchange.reply) >= {"ename", "evalue", "traceback"}
    assert frontend.execute("1").result == "1"


def test_control_answers_while_a_cell_runs(frontend: Frontend) -> None:
    running = frontend.start("print('going') while not done do end")
    frontend.wait(lambda: running.stream(), "the cell to run")
    info = frontend.ask("kernel_info_request", channel="control")
    assert info.reply["status"] == "ok"
    assert states(info) == ["busy", "idle"]
    assert running.answer is None
    frontend.ask("interrupt_request", channel="control")
    frontend.finish(running)


def test_the_heartbeat_answers_while_a_cell_runs(frontend: Frontend) -> None:
    running = frontend.start("print('going') while true do end")
    frontend.wait(lambda: running.stream(), "the cell to run")
    beats = frontend.client.context.socket(3)  # REQ
    beats.connect(frontend.client._make_url("hb"))
    beats.send(b"are you there")
    assert beats.poll(5000), "the heartbeat waits for the cell"
    assert beats.recv() == b"are you there"
    beats.close(0)
    frontend.ask("interrupt_request", channel="control")
    frontend.finish(running)


def test_two_clients_share_the_state_and_get_their_own_replies(connect: Callable[[], Frontend]) -> None:
    one, two = connect(), connect()
    one.execute("shared = 'from one'")
    exchanges = [
        (client, client.start(f"print('{name}') return shared"))
        for client, name in ((one, "one"), (two, "two"))
        for _ in range(20)
    ]
    for client, exchange in exchanges:
        client.finish(exchange)
        assert "from one" in exchange.result
    assert {exchange.stream() for client, exchange in exchanges if client is one} == {"one\n"}
    assert {exchange.stream() for client, exchange in exchanges if client is two} == {"two\n"}
    seen_by_one = {a.content["text"] for a in one.strangers if a.kind == "stream"}
    assert "two\n" in seen_by_one, "iopub belongs to every client"
    assert all(a.channel == "iopub" for a in one.strangers + two.strangers), "replies go to the one who asked"
