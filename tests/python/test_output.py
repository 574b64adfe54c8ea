"""What a cell prints: all of it, in order, before idle, as it comes, and in few messages."""

import zmq
from frontend import Frontend
from jupyter_client import KernelManager
from resident import resident_memory


def test_ten_thousand_lines_arrive_in_order_before_idle_in_few_messages(frontend: Frontend) -> None:
    exchange = frontend.execute("for i = 1, 10000 do print('line', i) end")
    assert exchange.stream() == "".join(f"line\t{number}\n" for number in range(1, 10_001))
    assert exchange.published[-1].kind == "status", "idle is the last word"
    assert len(exchange.all("stream")) < 200, "jupyter_server drops output above 1,000 messages a second"


def test_output_appears_while_the_cell_runs(frontend: Frontend) -> None:
    running = frontend.start("print('early') while true do end")
    frontend.wait(lambda: running.stream() == "early\n", "the first line")
    assert running.answer is None
    frontend.ask("interrupt_request", channel="control")
    frontend.finish(running)


def test_stdout_and_stderr_keep_their_order(frontend: Frontend) -> None:
    exchange = frontend.execute("for i = 1, 50 do io.write('o', i, ' ') io.stderr:write('e', i, ' ') end")
    order = "".join(arrival.content["text"] for arrival in exchange.all("stream")).split()
    assert order == [f"{stream}{number}" for number in range(1, 51) for stream in "oe"]
    assert exchange.stream("stderr").split() == [f"e{number}" for number in range(1, 51)]


def test_what_a_command_prints_reaches_the_client(frontend: Frontend) -> None:
    exchange = frontend.execute("print('before') os.execute('echo from the shell; echo complaint >&2') print('after')")
    assert exchange.stream("stdout").splitlines() == ["before", "from the shell", "after"]
    assert exchange.stream("stderr") == "complaint\n"


def test_print_calls_tostring_and_separates_by_tabs(frontend: Frontend) -> None:
    code = "print(1, 2.0, nil, true, setmetatable({}, { __tostring = function() return 'mine' end }))"
    assert frontend.execute(code).stream() == "1\t2.0\tnil\ttrue\tmine\n"


def test_a_megabyte_on_one_line_arrives_whole(frontend: Frontend) -> None:
    exchange = frontend.execute("io.write(string.rep('x', 1048576))")
    assert exchange.stream() == "x" * 1_048_576


def test_characters_of_several_bytes_survive_being_written_in_pieces(frontend: Frontend) -> None:
    exchange = frontend.execute("local s = 'größer 🌙 月' for i = 1, #s do io.write(s:sub(i, i)) end")
    assert exchange.stream() == "größer 🌙 月"


def test_bytes_that_are_no_text_do_not_silence_the_cell(frontend: Frontend) -> None:
    exchange = frontend.execute("print('\\xff\\xfe then text')")
    assert exchange.reply["status"] == "ok"
    assert exchange.stream().endswith("then text\n")


def test_output_before_an_error_is_kept(frontend: Frontend) -> None:
    exchange = frontend.execute("print('so far') error('then this')")
    assert exchange.stream() == "so far\n"
    assert exchange.reply["status"] == "error"


def test_output_of_one_cell_never_lands_in_another(frontend: Frontend) -> None:
    cells = [frontend.start(f"for i = 1, 200 do print({number}) end") for number in range(10)]
    for number, exchange in enumerate(cells):
        assert frontend.finish(exchange).stream() == f"{number}\n" * 200


def test_a_subscriber_that_never_reads_delays_nobody(manager: KernelManager, frontend: Frontend) -> None:
    stalled = frontend.client.context.socket(zmq.SUB)
    stalled.setsockopt(zmq.RCVHWM, 1)
    stalled.setsockopt(zmq.RCVBUF, 4096)
    stalled.setsockopt(zmq.SUBSCRIBE, b"")
    stalled.connect(frontend.client._make_url("iopub"))
    frontend.execute("print('something')")
    frontend.wait(lambda: stalled.poll(1), "the subscription to arrive")
    pid = manager.provisioner.process.pid
    line = "x" * 4095
    exchange = frontend.execute(f"for i = 1, 50000 do print('{line}') end", patience=60)
    assert len(exchange.stream()) == 50_000 * 4096
    assert resident_memory(pid) < 160 << 20, "what a stalled subscriber did not read is kept without a bound"
    stalled.close(0)
