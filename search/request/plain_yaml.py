"""YAML as editors and JSON know it: the core types of YAML 1.2, and nothing that runs, repeats or surprises.

Words such as ``yes`` and ``on`` are texts, as are dates, ``1:30`` and ``007``; so a schema says the same of a file
wherever it is read. Tags, aliases (which can make a small file a huge value) and keys that are given twice are refused.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import yaml

from servefit.errors import SpecError

MAX_LEVELS = 20
"""A job has five at most, and with far more the parser would run out of stack. Chosen, not measured."""

_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,400})")
_FLOAT = re.compile(r"-?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")

_PLAIN_TEXT = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*|[0-9][0-9.e+-]*(us|ms|s|/s|/min)")
_NOT_PLAIN = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")
"""Words that some reader of YAML, of whatever version, takes for no text."""

_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "seq", "map")}


class _Loader(yaml.BaseLoader):
    """Composes nodes, all of whose scalars are texts, without aliases and only so deep."""

    level = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        line = "" if event.start_mark is None else f" (line {event.start_mark.line + 1})"
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"aliases are not followed{line}")
        if self.level == MAX_LEVELS:
            raise ValueError(f"it has more than {MAX_LEVELS} levels{line}")
        self.level += 1
        node = super().compose_node(parent, index)
        self.level -= 1
        if isinstance(node, yaml.ScalarNode):
            # JSON escapes a character as two halves, as in "\ud83d\ude00".
            node.value = node.value.encode("utf-16", "surrogatepass").decode("utf-16")
        return node


def load_yaml(text: str) -> Any:
    """Read the one document in ``text``, None where there is none.

    Raises ValueError, in one line, for what cannot be read, and SpecError with the path and the line of a value that is
    refused.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.reader.ReaderError as error:
        raise ValueError(f"{error.reason} (at character {error.position + 1})") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f" (line {mark.line + 1})"
        raise ValueError(", ".join(filter(None, (error.context, error.problem))) + line) from error
    return None if node is None else _value(node, "")


def flow_yaml(value: Any) -> str:
    """Write mappings, lists, texts, numbers, true and false on one line of YAML, which reads back the same."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow_yaml(key)}: {flow_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow_yaml, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return repr(value)
    if _PLAIN_TEXT.fullmatch(value) and value.lower() not in _NOT_PLAIN:
        return value
    return yaml.safe_dump(value, default_style='"', allow_unicode=True, width=sys.maxsize).rstrip("\n")


def _value(node: yaml.Node, path: str) -> Any:
    if node.tag not in _PLAIN_TAGS:
        tag = node.tag.replace("tag:yaml.org,2002:", "!!")
        raise _refused(path, node, f"has the tag {tag}", "leave it out")
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, f"{path}[{nth}]") for nth, item in enumerate(node.value)]
    return _scalar(node)


def _mapping(node: yaml.MappingNode, path: str) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag not in _PLAIN_TAGS:
            raise _refused(path, key, "has a key that is no text", "write one")
        place = f"{path}.{key.value}" if path else key.value
        if key.value in mapping:
            problem = f"is given twice (line {key.start_mark.line + 1})"
            raise SpecError(place, None, problem, remedy="leave one out")
        mapping[key.value] = _value(value, place)
    return mapping


def _scalar(node: yaml.Node) -> Any:
    text: str = node.value
    if isinstance(node, yaml.ScalarNode) and node.style is not None:
        return text  # it was in quotes
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return text.lower() == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _refused(path: str, node: yaml.Node, problem: str, remedy: str) -> SpecError:
    shown = node.value if isinstance(node, yaml.ScalarNode) and node.value else None
    return SpecError(path, shown, f"{problem} (line {node.start_mark.line + 1})", remedy=remedy)
