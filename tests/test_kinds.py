"""A unit test that does what only other kinds may do fails, whatever hides it; other kinds may."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

CONFTEST = """
from tests.kinds import Kinds

def pytest_configure(config):
    config.pluginmanager.register(Kinds())
"""
TESTS = """
import socket, sqlite3, subprocess, threading, time
from concurrent.futures import ThreadPoolExecutor
import pytest

@pytest.fixture(scope="module")
def process():
    subprocess.run(["true"])

@pytest.fixture(scope="module")
def sleeping():
    over = threading.Event()
    def look():
        while not over.is_set():
            time.sleep(0.001)
    thread = threading.Thread(target=look)
    thread.start()
    yield thread
    over.set()
    thread.join()

@pytest.mark.integration
def test_may_start_a_process(process):
    subprocess.run(["true"])

@pytest.mark.integration
def test_may_have_a_thread_that_sleeps(sleeping):
    pass

def test_pure_beside_that_thread():
    threading.Event().wait(0.05)

@pytest.mark.integration
def test_finds_that_thread_alive(sleeping):
    assert sleeping.is_alive()

def test_bad_process():
    subprocess.run(["true"])

def test_bad_socket():
    socket.create_server(("127.0.0.1", 0))

def test_bad_database():
    sqlite3.connect(":memory:")

def test_bad_sleep():
    time.sleep(0.001)

def test_bad_hidden():
    try:
        subprocess.run(["true"])
    except BaseException:
        pass

def test_bad_elsewhere():
    with ThreadPoolExecutor(1) as pool:
        pool.submit(time.sleep, 0.001)

def test_bad_fixture(process):
    pass
"""


@pytest.mark.integration
def test_a_unit_test_that_does_more_fails_and_others_do_not(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rA", "-c", "/dev/null", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [line.split(" - ")[0].split("::") for line in ended.stdout.splitlines() if "::test_" in line]
    outcomes = {name: place for place, name in lines}
    assert len(outcomes) == 11, ended.stdout
    failed = {name for name, place in outcomes.items() if place.startswith("FAILED")}
    assert failed == {name for name in outcomes if name.startswith("test_bad")}, ended.stdout
