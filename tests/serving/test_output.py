"""What workers print, and what is logged of requests that made them raise."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.serving.conftest import described

from servefit.backends.variables.secret import Secret
from servefit.serving.event_log import FailureLog
from servefit.serving.output import OutputAllowance, WorkerOutput, hidden_in_output

if TYPE_CHECKING:
    import pytest

BURST, A_SECOND = 2**20, 2**14


def test_as_much_may_be_printed_as_was_saved_up() -> None:
    now_s = [0.0]
    allowance = OutputAllowance(lambda: now_s[0])
    assert [allowance.take(size) for size in (BURST - 1, 2, 1, 1)] == [True, False, True, False]
    now_s[0] = 2.0
    assert [allowance.take(size) for size in (2 * A_SECOND, 1)] == [True, False]
    now_s[0] = 1e6
    assert [allowance.take(size) for size in (BURST, 1)] == [True, False]


def test_lines_that_come_in_pieces_are_passed_on_whole_without_secrets(capfd: pytest.CaptureFixture[str]) -> None:
    output = WorkerOutput({"TOKEN": Secret("***", "hunter2")}, OutputAllowance())
    for piece, shown in ((b"one\ntwo hun", "one\n"), (b"ter2 three\n", "two *** three\n"), (b"\xff hunter2", "")):
        os.write(output.write_end, piece)
        assert output.read()
        assert capfd.readouterr().err == shown
    os.close(output.write_end)
    output.close()
    assert capfd.readouterr().err.endswith(" ***")


def test_what_is_left_out_is_said_once_there_is_room_again(capfd: pytest.CaptureFixture[str]) -> None:
    now_s = [0.0]
    allowance = OutputAllowance(lambda: now_s[0])
    allowance.take(BURST)
    output = WorkerOutput({}, allowance)
    os.write(output.write_end, b"too\nmuch\n")
    assert output.read()
    assert capfd.readouterr().err == ""
    now_s[0] = 1.0
    os.write(output.write_end, b"more\n")
    assert output.read()
    assert capfd.readouterr().err == "servefit: a worker printed too much: 9 bytes were left out\nmore\n"
    os.close(output.write_end)
    output.close()


def test_secrets_are_those_that_the_endpoint_names_and_others_that_are_not_too_short() -> None:
    config = described({}, {}, environment=(("DB_PASSWORD", "1"), ("A", "2")), secret=("B",))
    environment = {"DB_PASSWORD": "1", "A": "2", "B": "3", "C_TOKEN": "4", "D_TOKEN": "12345678", "E": "12345678"}
    assert hidden_in_output(environment, config).keys() == {"DB_PASSWORD", "B", "D_TOKEN"}


def test_what_is_raised_is_logged_once_and_sixty_times_a_minute_at_most(capfd: pytest.CaptureFixture[str]) -> None:
    now_s = [100.0]
    log = FailureLog("worker 1", time_s=lambda: now_s[0])
    references = [log.refer(f"raised\n{number}") for number in (*range(70), *range(70))]
    assert (references[:70], len(set(references))) == (references[70:], 70)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 60
    assert lines[7] == f"servefit: worker 1: raised 7 (reference {references[7]}, said once for each text)"
    now_s[0] += 60
    assert log.refer("raised 69") == references[69]
    assert references[69] in capfd.readouterr().err
