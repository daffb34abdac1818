"""Why a session ended, and whether to start the agent again."""

from __future__ import annotations

import pytest

from servefit.search.fleet.launching.ending import NAME_HELD_S, ending_of
from servefit.search.fleet.launching.session import SessionEnd


def end(status: int, *lines: str, started: bool = False) -> SessionEnd:
    return SessionEnd(status=status, lines=lines, started=started, up_s=90.0 if started else 0.0)


@pytest.mark.parametrize(
    ("ended", "then"),
    [
        (end(255, "Host key verification failed."), "give up"),
        (end(255, "a@b: Permission denied (publickey,password)."), "give up"),
        (end(255, "Unable to negotiate with 10.0.0.1 port 22: no matching host key type found."), "give up"),
        (end(255, "Error: remote port forwarding failed for listen port 0"), "give up"),
        (end(255, "ssh: connect to host 10.0.0.1 port 22: Connection refused"), "again"),
        (end(255, "ssh: Could not resolve hostname a: Name or service not known"), "again"),
        (end(255, "Timeout, server 10.0.0.1 not responding.", started=True), "again"),
        (end(255, started=True), "again"),
        (end(127, "sh: 1: /opt/python: not found"), "give up"),
        (end(126, "sh: 1: /opt/python: Permission denied"), "give up"),
        (end(1, "/opt/python: No module named servefit"), "give up"),
        (end(0, started=True), "done"),
        (end(1, "Traceback", started=True), "again"),
        (end(4, "servefit: cannot use the jobs", started=True), "again"),
        (end(137, started=True), "again"),
        (end(2, "servefit: name: 'a' is that of an agent that runs", started=True), "give up"),
    ],
)
def test_time_cures_some_reasons_and_others_not(ended: SessionEnd, then: str) -> None:
    ending = ending_of(ended)
    assert ending.then == then
    if ended.lines:
        assert ended.last_line in ending.reason


def test_an_agent_that_says_what_ssh_says_is_no_refusal() -> None:
    ending = ending_of(end(255, "it read: Permission denied (publickey).", "it was killed", started=True))
    assert ending.then == "again"
    assert ending.lost


def test_a_name_that_is_taken_is_tried_again_for_as_long_as_the_agent_that_was_lost_may_have_it() -> None:
    refused = end(2, "name is that of an agent that runs", started=True)
    assert ending_of(refused, lost_for_s=NAME_HELD_S - 1).then == "again"
    assert ending_of(refused, lost_for_s=NAME_HELD_S + 1).then == "give up"
