"""The vertices of a `.ply` file (Turk, "The PLY Polygon File Format", 1994).

A parser of our own: of the libraries, plyfile stands under the GPL, and trimesh takes a text file that is cut off as whole.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TYPES = {
    "char": "i1",
    "uchar": "u1",
    "short": "i2",
    "ushort": "u2",
    "int": "i4",
    "uint": "u4",
    "float": "f4",
    "double": "f8",
    "int8": "i1",
    "uint8": "u1",
    "int16": "i2",
    "uint16": "u2",
    "int32": "i4",
    "uint32": "u4",
    "float32": "f4",
    "float64": "f8",
}
ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
HEADER = re.compile(rb"ply[ \t]*(\r\n|\n|\r)(.*?\1)?end_header[ \t]*\1", re.DOTALL)
LONGEST = 1 << 20
"""Bytes of the longest header."""


class Property(NamedTuple):
    """A number; with `count`, the type of its length, a list of them."""

    name: str
    type: str
    count: str = ""


class Element(NamedTuple):
    """So many records of the same make."""

    name: str
    count: int
    properties: list[Property]

    @property
    def listed(self) -> bool:
        """Its records differ in length."""
        return any(each.count for each in self.properties)

    def dtype(self, order: str) -> np.dtype[np.void]:
        """Of a record without lists; ValueError where two properties have the same name."""
        return np.dtype([(each.name, order + each.type) for each in self.properties])


def read_vertices(data: bytes) -> NDArray[np.void]:
    """The records of the element `vertex`, a field for each property; ValueError for what is no such file, or is cut off.

    What follows the vertices is not looked at in a binary file; in one of text every element is a line, and all must be
    there; that its last number lost a digit cannot be told.
    """
    order, elements, start = header(data)
    names = [element.name for element in elements]
    if names.count("vertex") != 1:
        raise ValueError(f"the file has no element `vertex`, but {', '.join(names) or 'none'}")
    before, vertex = elements[: names.index("vertex")], elements[names.index("vertex")]
    if vertex.listed or not vertex.properties:
        raise ValueError("the vertices have lists, or no properties at all, and cannot be read")
    if not vertex.count:
        return np.zeros(0, vertex.dtype("="))
    if not order:
        return text(data[start:], sum(element.count for element in before), vertex, sum(element.count for element in elements))
    for element in before:
        start = skipped(data, start, element, order)
    dtype = vertex.dtype(order)
    if start + vertex.count * dtype.itemsize > len(data):
        raise ValueError(f"the file is cut off: {vertex.count} vertices do not fit")
    return np.frombuffer(data, dtype, vertex.count, start)


def header(data: bytes) -> tuple[str, list[Element], int]:
    """Byte order ("" for text), elements, and where the records start."""
    found = HEADER.match(data, 0, LONGEST)
    if not found:
        raise ValueError("this is no .ply file, or it is cut off in its header")
    order, elements = None, []
    for line in (found[2] or b"").decode("latin-1").split(found[1].decode()):
        match line.split():
            case ["format", name, "1.0"] if name in ORDERS and order is None:
                order = ORDERS[name]
            case ["element", name, count] if count.isascii() and count.isdigit():
                elements.append(Element(name, int(count), []))
            case ["property", "list", count, kind, name] if (
                elements and {count, kind} <= TYPES.keys() and TYPES[count][0] != "f"
            ):
                elements[-1].properties.append(Property(name, TYPES[kind], TYPES[count]))
            case ["property", kind, name] if elements and kind in TYPES:
                elements[-1].properties.append(Property(name, TYPES[kind]))
            case [] | ["comment" | "obj_info", *_]:
                continue
            case _:
                raise ValueError(f"the header of the .ply file has a line that is not understood: {line[:80]!r}")
    if order is None:
        raise ValueError("the header of the .ply file names no format")
    return order, elements, found.end()


def skipped(data: bytes, start: int, element: Element, order: str) -> int:
    """Where a binary element ends."""
    if not element.listed:
        return start + element.count * element.dtype(order).itemsize
    for _ in range(element.count):
        for each in element.properties:
            length = 1
            if each.count:
                size = int(each.count[1])
                if start + size > len(data):
                    raise ValueError(f"the file is cut off in its element `{element.name}`")
                length = int(np.frombuffer(data, order + each.count, 1, start)[0])
                start += size
            if length < 0:
                raise ValueError(f"a list of the element `{element.name}` has a negative length")
            start += length * int(each.type[1])
    return start


def text(data: bytes, before: int, vertex: Element, total: int) -> NDArray[np.void]:
    """The same of text, a line for each record."""
    lines = [line.decode("latin-1") for line in data.splitlines() if line.strip()]
    if len(lines) < total:
        raise ValueError(f"the file is cut off: it has {len(lines)} lines of {total}")
    try:
        return np.loadtxt(lines[before : before + vertex.count], vertex.dtype("="), comments=None, ndmin=1)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"the vertices must be lines of {len(vertex.properties)} numbers: {error}") from None
