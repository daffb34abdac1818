"""Bodies that are hard to read: of a given length, with one part repeated, in every format.

Most of them are refused. What they have in common is that somebody who is not careful takes seconds or minutes for one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JSON, LINES, CSV, NPY = "application/json", "application/jsonlines", "text/csv", "application/x-npy"
_LENGTH = "inference-header-content-length"


@dataclass(frozen=True, kw_only=True)
class Body:
    """A request for predictions: to /invocations, or, as ``tensors``, to .../infer."""

    name: str
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes
    tensors: bool = False

    @property
    def format(self) -> str:
        return "tensors" if self.tensors else self.headers["content-type"].partition(";")[0].rpartition("/")[2]


def hostile_bodies(features: int, size: int) -> Iterator[Body]:
    """One after the other, for a model of so many ``features`` called f0, f1 and so on."""
    for content_type, described in ((JSON, _json(features)), (LINES, _lines(features)), (CSV, _csv(features))):
        for name, (begin, repeated, end) in described.items():
            content = filled(begin, repeated, end, size)
            yield Body(name=name, headers={"content-type": content_type}, content=content)
    for name, latin in (("text in Latin-1", JSON), ("cells in Latin-1", CSV)):
        content = filled('["', b"\xe9", '"]', size // 2)
        yield Body(name=name, headers={"content-type": f"{latin}; charset=latin-1"}, content=content)
    for name, content in _arrays(features, size).items():
        yield Body(name=name, headers={"content-type": NPY}, content=content)
    for name, (begin, repeated, end) in _tensors(features).items():
        yield Body(name=name, content=filled(begin, repeated, end, size), tensors=True)
    yield from _binary(features, size)
    for header in ("accept", "content-type"):
        headers = {"content-type": CSV, header: "text/csv; charset=utf-8, " + "a/b;q=1, " * 6000}
        yield Body(name=f"a long {header}", headers=headers, content=b",".join([b"1"] * features))


def filled(begin: str, repeated: str | bytes, end: str, size: int) -> bytes:
    """``repeated`` as often as it fits between ``begin`` and ``end``."""
    piece = repeated if isinstance(repeated, bytes) else repeated.encode()
    return begin.encode() + piece * max(1, (size - len(begin) - len(end)) // len(piece)) + end.encode()


_Described = dict[str, tuple[str, str | bytes, str]]


def _row(features: int, cell: str = "0.1234567", separator: str = ",") -> str:
    return separator.join([cell] * features)


def _object(features: int, *, more: int = 0) -> str:
    return json.dumps({f"f{number}": 0.5 for number in range(features + more)})


def _json(features: int) -> _Described:
    row, tensor = _row(features), '{"shape":[1],"data":[1]}'
    shape = '{"inputs":[{"shape":[1,'
    return {
        "rows": ("[", f"[{row}],", f"[{row}]]"),
        "instances": ('{"instances":[', f"[{row}],", f"[{row}]]}}"),
        "rows of missing values": ("[", f"[{_row(features, 'NaN')}],", f"[{row}]]"),
        "rows of booleans": ("[", f"[{_row(features, 'true')}],", f"[{row}]]"),
        "rows near the least number": ("[", f"[{_row(features, '1e-310')}],", f"[{row}]]"),
        "rows near the greatest number": ("[", f"[{_row(features, '1.7976931348623157E308')}],", f"[{row}]]"),
        "rows beyond all numbers": ("[", f"[{_row(features, '1e999')}],", f"[{row}]]"),
        "rows, and one of text": ("[", f"[{row}],", '["x"]]'),
        "objects": ("[", f"{_object(features)},", f"{_object(features)}]"),
        "objects with one name more": ("[", f"{_object(features, more=1)},", f"{_object(features, more=1)}]"),
        "one row of many values": ("[", "1,", "1]"),
        "many empty lists": ("[", "[],", "[]]"),
        "many empty objects": ("[", "{},", "{}]"),
        "lists in lists": ("", "[", ""),
        "deep lists": ("[", "[" * 500 + "]" * 500 + ",", "[]]"),
        "objects in objects": ("", '{"a":', ""),
        "an integer": ("[", "9", "]"),
        "integers of 4300 digits": ("[", "9" * 4300 + ",", "9]"),
        "a fraction": ("[0.", "9", "]"),
        "spaces": ("[", " ", "1]"),
        "spaces without an end": ("[", " ", ""),
        "empty lines": ("", "\n", ""),
        "empty lines ended by CR": ("", "\r", ""),
        "a text": ('"', "a", '"'),
        "escapes": ('["', "\\u00e9", '"]'),
        "halves of surrogate pairs": ('["', "\\ud800", '"]'),
        "a name": ('{"', "a", '":1}'),
        "one name again and again": ("{", '"a":1,', '"a":1}'),
        "names of columns": ('{"columns":[', '"a",', '"a"],"data":[[1]]}'),
        "documents": ("", "[1]\n", ""),
        "a byte order mark": ("\ufeff[", f"[{row}],", f"[{row}]]"),
        "no UTF-8": ("[1,", b"\xff", "]"),
        "no JSON": ("", "/", ""),
        "inputs": ('{"inputs":[', tensor + ",", tensor + "]}"),
        "inputs with a shape of many dimensions": (shape, "9223372036854775807,", '1],"data":[1]}]}'),
        "inputs with empty data": ('{"inputs":[{"shape":[1],"data":[', "[],", "[]]}]}"),
        "inputs with deep data": ('{"inputs":[{"shape":[1],"data":' + "[" * 400, "1,", "1" + "]" * 400 + "}]}"),
    }


def _lines(features: int) -> _Described:
    row = _row(features)
    return {
        "lines of rows": ("", f"[{row}]\n", ""),
        "lines that end in CR LF": ("", f"[{row}]\r\n", ""),
        "lines that end in CR": ("", f"[{row}]\r", ""),
        "lines of missing values": ("", f"[{_row(features, 'NaN')}]\n", ""),
        "lines of objects with one name more": ("", f"{_object(features, more=1)}\n", ""),
        "lines of instances": ("", f'{{"instances":[[{row}]]}}\n', ""),
        "lines of rows, and one of text": ("", f"[{row}]\n", "x"),
        "lines of single values": ("", "1\n", ""),
        "lines of texts": ("", '"a"\n', ""),
        "lines of empty lists": ("", "[]\n", ""),
        "lines of empty objects": ("", "{}\n", ""),
        "lines of nothing": ("", "\n", ""),
        "a row and lines of nothing": (f"[{row}]", "\n", ""),
        "lines of spaces": ("", " \n", ""),
        "lines of deep lists": ("", "[" * 500 + "]" * 500 + "\n", ""),
        "lines of inputs": ("", '{"inputs":[{"shape":[1],"data":[1]}]}\n', ""),
    }


def _csv(features: int) -> _Described:
    row, names = _row(features), ",".join(f"f{number}" for number in range(features))
    return {
        "cells": ("", f"{row}\n", ""),
        "cells under a header": (f"{names}\n", f"{row}\n", ""),
        "cells that are quoted": ("", _row(features, '"0.5"') + "\n", ""),
        "cells between semicolons": ("", _row(features, separator=";") + "\n", ""),
        "cells that are empty": ("", "," * (features - 1) + "\n", ""),
        "cells that are not available": ("", _row(features, "NA") + "\n", ""),
        "cells near the least number": ("", _row(features, "1e-310") + "\n", ""),
        "cells of a thousand zeros": ("", _row(features, "0" * 1000) + "\n", ""),
        "cells, and one of text": ("", f"{row}\n", "x"),
        "cells in lines that end in CR": ("", f"{row}\r", ""),
        "cells after a byte order mark": ("\ufeff", f"{row}\n", ""),
        "a line of cells": ("", "1,", ""),
        "a line of commas": ("", ",", ""),
        "a line of names": ("", "ab;", ""),
        "a name that is long": ("", "a", "\n1"),
        "lines of one cell": ("", "1\n", ""),
        "no cell in any line": ("", "\n", ""),
        "no cell in lines that end in CR": ("", "\r", ""),
        "no cell in lines that end in CR LF": ("", "\r\n", ""),
        "no cell but spaces": ("", " \n", ""),
        "one cell of spaces": ("", " ", ""),
        "quotes": ("", '"', ""),
        "a quote without an end": ('"', "a\n", ""),
        "brackets": ("", "]", ""),
        "zero bytes": ("1", "\0", ""),
    }


def _arrays(features: int, size: int) -> dict[str, bytes]:
    rows, records = max(1, size // 4 // features), max(1, (size - 5000) // 300)
    deep = b"\x93NUMPY\x01\0\x00\x27{'shape': " + b"(" * 10_000
    fields = b",".join(b"('f%d','|b1')" % number for number in range(300))
    head = b"{'descr': [%b], 'fortran_order': False, 'shape': (%d,), }" % (fields, records)
    sizes = b",".join([b"9" * 18] * 400)
    many = b"{'descr': '<f4', 'fortran_order': False, 'shape': (%b), }" % sizes
    return {
        "an array": _array(b"{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }" % (rows, features))
        + bytes(rows * features * 4),
        "an array of bytes": _array(b"{'descr': '|i1', 'fortran_order': False, 'shape': (%d, %d), }" % (size // 9, 9))
        + bytes(size // 9 * 9),
        "an array of records": _array(head) + bytes(300 * records),
        "an array of many dimensions": _array(many) + bytes(size - len(many)),
        "an array with a deep header": deep + bytes(size - len(deep)),
    }


def _array(header: bytes) -> bytes:
    return b"\x93NUMPY\x01\0" + (len(header) + 1).to_bytes(2, "little") + header + b"\n"


def _tensors(features: int) -> _Described:
    row = _row(features)
    whole = f'{{"name":"x","shape":[1,{features}],"datatype":"FP32","data":[{row}]}}'
    single = '{"name":"x","shape":[1,1],"datatype":"FP32","data":[1]}'
    data = '{"inputs":[{"name":"x","shape":[1,%d],"datatype":"%s","data":['
    shape = '{"inputs":[{"name":"x","datatype":"FP32","data":[1],"shape":[1,'
    return {
        "tensor of values": (data % (features, "FP32"), "0.1234567,", "1]}]}"),
        "tensor of whole values": (data % (features, "INT64"), "1,", "1]}]}"),
        "tensor of missing values": (data % (features, "FP32"), "NaN,", "1]}]}"),
        "tensor near the least number": (data % (features, "FP32"), "1e-310,", "1]}]}"),
        "tensor of texts": (data % (features, "FP32"), '"1",', "1]}]}"),
        "tensor of empty lists": (data % (features, "FP32"), "[],", "1]}]}"),
        "tensor of lists in lists": (data % (features, "FP32"), "[", ""),
        "tensor that is deep": (data % (features, "FP32") + "[" * 400, "1,", "1" + "]" * 400 + "]}]}"),
        "tensor of many dimensions": (shape, "1,", "1]}]}"),
        "tensor of many long dimensions": (shape, "9223372036854775807,", "1]}]}"),
        "tensor of dimensions of 4000 digits": (shape, "9" * 4000 + ",", "1]}]}"),
        "tensors": ('{"inputs":[', single + ",", single + "]}"),
        "tensor with a long name": ('{"inputs":[{"name":"', "a", whole.removeprefix('{"name":"x') + "]}"),
        "tensor with a long id": ('{"id":"', "a", f'","inputs":[{whole}]}}'),
        "tensor asked for again and again": (f'{{"inputs":[{whole}],"outputs":[', '{"name":"a"},', '{"name":"a"}]}'),
        "tensor with parameters": (f'{{"inputs":[{whole}],"parameters":{{', '"a":1,', '"a":1}}'),
        "tensor beside deep lists": (f'{{"inputs":[{whole}],"x":', "[", ""),
        "tensor beside objects": (f'{{"inputs":[{whole}],"x":[', "{},", "{}]}"),
        "tensor after spaces": ("{", " ", f'"inputs":[{whole}]}}'),
        "no tensor but empty lines": ("", "\n", ""),
        "no tensor but escapes": ('{"inputs":"', "\\u0061", '"}'),
    }


def _binary(features: int, size: int) -> Iterator[Body]:
    datatypes: dict[str, Callable[[int], np.ndarray]] = {
        "FP32": lambda count: np.zeros(count, "<f4"),
        "FP32 of missing values": lambda count: np.full(count, np.nan, "<f4"),
        "FP32 of infinities": lambda count: np.full(count, np.inf, "<f4"),
        "FP64": lambda count: np.zeros(count, "<f8"),
        "FP16": lambda count: np.zeros(count, "<f2"),
        "INT64": lambda count: np.zeros(count, "<i8"),
        "BOOL": lambda count: np.zeros(count, "?"),
    }
    for name, values in datatypes.items():
        datatype = name.partition(" ")[0]
        rows = max(1, min(100_000, (size - 200) // values(1).nbytes // features))
        content = values(rows * features).tobytes()
        tensor = _described("x", [rows, features], datatype, len(content))
        document = json.dumps({"inputs": [tensor]}).encode()
        headers = {_LENGTH: str(len(document))}
        yield Body(name=f"binary tensor of {name}", headers=headers, content=document + content, tensors=True)
        if name == "FP32":
            yield Body(name="nothing but values", headers={_LENGTH: "0"}, content=content, tensors=True)
    rows = max(1, min(100_000, (size - 120 * features) // 4 // features))
    columns = [_described(f"f{number}", [rows, 1], "FP32", 4 * rows) for number in reversed(range(features))]
    document = json.dumps({"inputs": columns}).encode()
    content = document + bytes(4 * rows * features)
    yield Body(name="binary columns", headers={_LENGTH: str(len(document))}, content=content, tensors=True)


def _described(name: str, shape: list[int], datatype: str, content_bytes: int) -> dict[str, object]:
    parameters = {"binary_data_size": content_bytes}
    return {"name": name, "shape": shape, "datatype": datatype, "parameters": parameters}
