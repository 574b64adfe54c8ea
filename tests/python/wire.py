"""The wire between a client and a kernel: a TCP proxy that keeps what passes, and can be cut or frozen."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from typing import Any

PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")


class Wire:
    """Listens on a port of its own for each of the kernel's. `connection` is the kernel's connection file with those ports."""

    def __init__(self, kernel: dict[str, Any]):
        self.seen = bytearray()
        self.opened = 0
        self._lock = threading.Lock()
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._frozen = False
        self._selector = selectors.DefaultSelector()
        self._wake, wake = socket.socketpair()
        self._selector.register(wake, selectors.EVENT_READ, None)
        self.connection = dict(kernel)
        self._listeners = []
        for port in PORTS:
            listener = socket.create_server(("127.0.0.1", 0))
            self.connection[port] = listener.getsockname()[1]
            self._selector.register(listener, selectors.EVENT_READ, (kernel["ip"], kernel[port]))
            self._listeners.append(listener)
        self.connection["ip"] = "127.0.0.1"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._wake.close()
        self._thread.join()
        for each in [*self._pairs, *self._listeners]:
            each.close()

    def cut(self) -> None:
        """Ends every connection that there is; new ones are let through."""
        with self._lock:
            for each in list(self._pairs):
                # shut down rather than closed: the thread that waits for it notices and closes it
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def freeze(self, frozen: bool = True) -> None:
        """From now on nothing passes, and nobody is told; as when a machine is gone."""
        self._frozen = frozen
        self._wake.send(b"!")

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                peer, target = key.fileobj, key.data
                assert isinstance(peer, socket.socket)
                if target is None:
                    if not peer.recv(1):
                        return
                elif isinstance(target, tuple):
                    self._open(peer, target)
                elif peer.fileno() < 0:
                    pass  # its other end was closed a moment ago
                elif self._frozen:
                    self._selector.unregister(peer)
                else:
                    self._pass(peer, target)
            if not self._frozen:
                registered = {key.fileobj for key in self._selector.get_map().values()}
                for peer, other in list(self._pairs.items()):
                    if peer not in registered:
                        self._selector.register(peer, selectors.EVENT_READ, other)

    def _open(self, listener: socket.socket, target: tuple[str, int]) -> None:
        near, _ = listener.accept()
        try:
            far = socket.create_connection(target)
        except OSError:
            near.close()
            return
        for one, other in ((near, far), (far, near)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._pairs[one] = other
            self._selector.register(one, selectors.EVENT_READ, other)
        self.opened += 1

    def _pass(self, peer: socket.socket, other: socket.socket) -> None:
        try:
            data = peer.recv(1 << 16)
            self.seen += data
            other.sendall(data)
        except OSError:
            data = b""
        if not data:
            for each in (peer, other):
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(each)
                with self._lock:
                    self._pairs.pop(each, None)
                each.close()
