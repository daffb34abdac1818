"""Requests of the query protocol, which older clients than the one that is installed send: forms in, XML out."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen
from xml.etree import ElementTree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.aws.conftest import Server

_NAMESPACE = "{http://monitoring.amazonaws.com/doc/2010-08-01/}"


class Answer:
    """A document of XML, whose namespace is left out."""

    def __init__(self, status: int, content: bytes) -> None:
        self.status = status
        self._root = ElementTree.fromstring(content)

    def texts(self, name: str) -> list[str]:
        """The texts of all elements of that name."""
        return [found.text or "" for found in self._root.iter() if found.tag.removeprefix(_NAMESPACE) == name]

    def text(self, name: str) -> str:
        (found,) = self.texts(name)
        return found


def send_form(server: Server, action: str, fields: Mapping[str, str]) -> Answer:
    content = urlencode({"Action": action, "Version": "2010-08-01", **fields}).encode()
    request = Request(server.address, content, {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"})
    try:
        with urlopen(request, timeout=30) as answer:
            return Answer(answer.status, answer.read())
    except HTTPError as error:
        with error:
            return Answer(error.code, error.read())
