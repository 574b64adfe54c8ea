"""Where things lie inside a GGUF file, so that a test can damage one of them. Layout: the GGUF specification, version 3."""

from __future__ import annotations

import struct
from pathlib import Path

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY = 8, 9


class GgufFile:
    """The bytes of a sound GGUF file with the positions of its metadata values and of each tensor's type and offset."""

    def __init__(self, path: Path):
        self.bytes = bytearray(path.read_bytes())
        self.values: dict[str, int] = {}
        self.tensor_types: dict[str, int] = {}
        self.tensor_offsets: dict[str, int] = {}
        self.position = 4
        _version, tensors, pairs = self.read("<IQQ")
        for _ in range(pairs):
            key = self.string()
            (kind,) = self.read("<I")
            self.values[key] = self.position
            self.skip(kind)
        for _ in range(tensors):
            name = self.string()
            (dimensions,) = self.read("<I")
            self.position += 8 * dimensions
            self.tensor_types[name] = self.position
            self.tensor_offsets[name] = self.position + 4
            self.position += 12
        self.header_end = self.position

    def read(self, layout: str) -> tuple[int, ...]:
        fields = struct.unpack_from(layout, self.bytes, self.position)
        self.position += struct.calcsize(layout)
        return fields

    def string(self) -> str:
        (length,) = self.read("<Q")
        text = self.bytes[self.position : self.position + length].decode()
        self.position += length
        return text

    def skip(self, kind: int) -> None:
        if kind == STRING:
            self.string()
        elif kind == ARRAY:
            element, count = self.read("<IQ")
            for _ in range(count):
                self.skip(element)
        else:
            self.position += SIZES[kind]

    def replace_string(self, key: str, value: str) -> None:
        """Overwrites a string value by one of the same length."""
        start = self.values[key] + 8
        (length,) = struct.unpack_from("<Q", self.bytes, self.values[key])
        assert len(value.encode()) == length, f"`{value}` must have {length} bytes"
        self.bytes[start : start + length] = value.encode()

    def set_tensor_type(self, name: str, kind: int) -> None:
        struct.pack_into("<I", self.bytes, self.tensor_types[name], kind)

    def set_tensor_offset(self, name: str, offset: int) -> None:
        struct.pack_into("<Q", self.bytes, self.tensor_offsets[name], offset)
