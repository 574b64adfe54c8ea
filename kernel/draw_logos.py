"""Draws the kernel's logos: a moon, an orbit with the moon at its focus, and a craft at its perilune, the point nearest the moon.

    python3 kernel/draw_logos.py

Writes the SVG and both PNGs beside kernel.json in kernel/kernelspec, from one list of shapes, with the standard library alone. The result is committed.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "kernelspec/data/share/jupyter/kernels/perilune"
SIDE = 64
SAMPLES = 8
"""Per pixel and axis."""

SKY, RIM, MOON, SHADE, ORBIT, CRAFT = "#1a2150", "#3a4690", "#f6eed8", "#cfc4a4", "#8fb2ff", "#ffb14a"

MAJOR, MINOR, TILT = 24.5, 22.6, math.radians(-38)
FOCUS = math.sqrt(MAJOR**2 - MINOR**2)
CENTRE = (32.0, 32.0)


def along(distance: float) -> tuple[float, float]:
    """A point on the orbit's major axis; negative is towards the perilune."""
    return CENTRE[0] + distance * math.cos(TILT), CENTRE[1] + distance * math.sin(TILT)


@dataclass
class Disc:
    at: tuple[float, float]
    radius: float
    colour: str
    inside: Disc | None = None
    """Only where this other disc is."""

    def covers(self, x: float, y: float) -> bool:
        within = (x - self.at[0]) ** 2 + (y - self.at[1]) ** 2 <= self.radius**2
        return within and (self.inside is None or self.inside.covers(x, y))

    def svg(self) -> str:
        clip = ' clip-path="url(#moon)"' if self.inside else ""
        return f'<circle cx="{self.at[0]:.2f}" cy="{self.at[1]:.2f}" r="{self.radius:g}" fill="{self.colour}"{clip}/>'


@dataclass
class Ring:
    """The orbit: an ellipse's outline."""

    width: float
    colour: str

    def covers(self, x: float, y: float) -> bool:
        dx, dy = x - CENTRE[0], y - CENTRE[1]
        u, v = dx * math.cos(TILT) + dy * math.sin(TILT), dy * math.cos(TILT) - dx * math.sin(TILT)
        half = self.width / 2
        outer = (u / (MAJOR + half)) ** 2 + (v / (MINOR + half)) ** 2 <= 1
        return outer and (u / (MAJOR - half)) ** 2 + (v / (MINOR - half)) ** 2 >= 1

    def svg(self) -> str:
        turn = f"rotate({math.degrees(TILT):g} {CENTRE[0]:g} {CENTRE[1]:g})"
        shape = f'cx="{CENTRE[0]:g}" cy="{CENTRE[1]:g}" rx="{MAJOR:g}" ry="{MINOR:g}" transform="{turn}"'
        return f'<ellipse {shape} fill="none" stroke="{self.colour}" stroke-width="{self.width:g}"/>'


def shapes(line: float) -> list[Disc | Ring]:
    """From back to front; lines are `line` wide, in units of which the side has 64."""
    moon = Disc(along(-FOCUS + 3), 12.5, SHADE)
    lit = Disc((moon.at[0] + 3.2, moon.at[1] - 3.2), 12.5, MOON, inside=moon)
    seas = [(4.5, -4.5, 2.6), (-2.5, -2.0, 1.9), (2.5, 4.0, 1.6)]
    seas = [Disc((moon.at[0] + x, moon.at[1] + y), radius, SHADE, inside=moon) for x, y, radius in seas]
    craft = along(-MAJOR)
    return [
        Disc(CENTRE, 31.5, RIM),
        Disc(CENTRE, 31.5 - line / 2, SKY),
        Ring(line, ORBIT),
        moon,
        lit,
        *seas,
        Disc(craft, 4.2 + line, SKY),
        Disc(craft, 4.2 + line / 4, CRAFT),
    ]


def png(side: int, line: float) -> bytes:
    scene = [(shape, bytes.fromhex(shape.colour[1:])) for shape in reversed(shapes(line))]
    rows = bytearray()
    for row in range(side):
        rows.append(0)  # filter: none
        for column in range(side):
            rows += pixel(scene, row, column, SIDE / side)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
    image = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(rows), 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + image


def pixel(scene: list[tuple[Disc | Ring, bytes]], row: int, column: int, scale: float) -> bytes:
    """The mean over the pixel: colour over what is covered, and how much of it is."""
    sums, covered = [0, 0, 0], 0
    for down in range(SAMPLES):
        y = (row + (down + 0.5) / SAMPLES) * scale
        for right in range(SAMPLES):
            x = (column + (right + 0.5) / SAMPLES) * scale
            colour = next((colour for shape, colour in scene if shape.covers(x, y)), None)
            if colour is not None:
                covered += 1
                sums = [total + part for total, part in zip(sums, colour, strict=True)]
    if covered == 0:
        return bytes(4)
    return bytes([*(round(total / covered) for total in sums), round(255 * covered / SAMPLES**2)])


def svg(line: float) -> str:
    drawn = shapes(line)
    moon = next(shape.inside for shape in drawn if isinstance(shape, Disc) and shape.inside)
    clip = f'<clipPath id="moon"><circle cx="{moon.at[0]:.2f}" cy="{moon.at[1]:.2f}" r="{moon.radius:g}"/></clipPath>'
    body = "\n".join(f"  {shape.svg()}" for shape in drawn)
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIDE} {SIDE}">\n  {clip}\n{body}\n</svg>\n'


def main() -> None:
    (FOLDER / "logo-svg.svg").write_text(svg(2.2))
    (FOLDER / "logo-64x64.png").write_bytes(png(64, 2.2))
    (FOLDER / "logo-32x32.png").write_bytes(png(32, 3.0))


if __name__ == "__main__":
    main()
