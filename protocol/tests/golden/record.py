"""Records jupyter_client.json: the frames that jupyter_client's own client and Session put on the wire.

    python record.py >jupyter_client.json

`requests` come from KernelClient's methods through a channel that keeps them; `others` from Session, as ipykernel uses it. Both are
packed as jupyter_client packs them. `compact` are packed without blanks, as we write JSON, so that our bytes can equal them.
"""

import json
import sys

import jupyter_client
from jupyter_client.client import KernelClient
from jupyter_client.jsonutil import json_default
from jupyter_client.session import Session

KEY = "golden key"


class Recording:
    """Stands where a channel's socket would be."""

    def __init__(self, session, frames):
        self.session = session
        self.frames = frames

    def send(self, message):
        self.frames.append(recorded(self.session, message))


def recorded(session, message, identities=(), buffers=()):
    frames = [*session.serialize(message, list(identities)), *buffers]
    return {"msg_type": message["msg_type"], "frames": [frame.decode("utf-8") for frame in frames]}


def requests(session):
    frames = []
    client = KernelClient(session=session)
    client._shell_channel = client._control_channel = client._stdin_channel = Recording(session, frames)
    client.allow_stdin = True
    client.kernel_info()
    client.execute("print('Grüße, 月 🌙')", user_expressions={"x": "1 + 1"})
    client.execute("silent()", silent=True, store_history=False, allow_stdin=False, stop_on_error=False)
    client.is_complete("for i = 1, 3 do")
    client.complete("🌙 = string.for", 12)
    client.complete("to the end")
    client.comm_info()
    client.comm_info("jupyter.widget")
    client.inspect("print", 3)
    client.history()
    client.input("a line")
    client.shutdown(restart=True)
    message = session.msg("interrupt_request", {})
    frames.append(recorded(session, message))
    subshell = session.msg("execute_request", {"code": "1"})
    subshell["header"]["subshell_id"] = "a-subshell"
    frames.append(recorded(session, subshell, identities=[b"one", b"two"], buffers=[b"a buffer", b""]))
    return frames


def others(session):
    parent = session.msg("execute_request", {"code": "1"})
    contents = [
        ("status", {"execution_state": "busy"}),
        ("stream", {"name": "stderr", "text": "a\nb"}),
        ("execute_input", {"code": "1", "execution_count": 7}),
        ("execute_result", {"execution_count": 7, "data": {"text/plain": "1"}, "metadata": {}}),
        ("display_data", {"data": {"text/html": "<b>"}, "metadata": {"isolated": True}, "transient": {"display_id": "d"}}),
        ("update_display_data", {"data": {}, "metadata": {}, "transient": {"display_id": "d"}}),
        ("error", {"ename": "E", "evalue": "v", "traceback": ["one", "two"]}),
        ("clear_output", {"wait": True}),
        ("iopub_welcome", {"subscription": ""}),
        ("comm_open", {"comm_id": "c", "target_name": "t", "data": {}}),
    ]
    return [recorded(session, session.msg(kind, content, parent=parent), identities=[kind.encode()]) for kind, content in contents]


def compact(session):
    execute = {"code": "é", "silent": False, "store_history": True, "user_expressions": {"x": "1"}, "allow_stdin": True}
    parent = session.msg("kernel_info_request", {})
    messages = [
        parent,
        session.msg("execute_request", execute | {"stop_on_error": True}),
        session.msg("shutdown_request", {"restart": False}, parent=parent),
    ]
    return [recorded(session, message, identities=[b"peer"]) for message in messages]


def pack_without_blanks(content):
    return json.dumps(content, default=json_default, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def main():
    session = Session(key=KEY.encode(), username="golden")
    blankless = Session(key=KEY.encode(), username="golden")
    blankless.pack = pack_without_blanks
    golden = {
        "recorded_by": "protocol/tests/golden/record.py",
        "jupyter_client": jupyter_client.__version__,
        "key": KEY,
        "requests": requests(session),
        "others": others(session),
        "compact": compact(blankless),
    }
    json.dump(golden, sys.stdout, ensure_ascii=False, indent=1)
    print()


if __name__ == "__main__":
    main()
