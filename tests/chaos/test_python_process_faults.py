"""Python processes that die, hang or are killed: in `netlify dev`, with the real CLI."""

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.fixtures.python_functions import NetlifyDev, Reply, running, toy_site, wait_until


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetlifyDev]:
    with running(toy_site(tmp_path_factory.mktemp("toys"))) as started:
        yield started


def code_of(reply: Reply) -> str:
    assert (reply.status, reply.kind) == (502, "application/problem+json")
    assert reply.json["status"] == 502
    assert reply.json["title"]
    code: str = reply.json["code"]
    return code


def running_function(dev: NetlifyDev, name: str) -> list[int]:
    return [process.pid for process in dev.python_processes() if f".{name}." in " ".join(process.cmdline())]


def logged(dev: NetlifyDev, code: str) -> list[dict[str, Any]]:
    lines = [line.partition("  ")[2] for line in dev.log().splitlines() if f'"message":"{code}"' in line]
    return [json.loads(line) for line in lines]


def test_killed_between_two_requests_nobody_notices(dev: NetlifyDev) -> None:
    for _ in range(3):
        os.kill(dev.get("/api/hello").json["pid"], signal.SIGKILL)

        assert dev.get("/api/hello").status == 200


def test_killed_during_a_request_only_that_request_fails(dev: NetlifyDev) -> None:
    with ThreadPoolExecutor(4) as threads:
        others = [threads.submit(dev.get, "/api/misbehave?how=sleeps") for _ in range(2)]
        reply = dev.get("/api/misbehave?how=killed")
        assert [other.result().status for other in others] == [200, 200]

    assert code_of(reply) == "function_died"
    last = logged(dev, "function_died")[-1]
    assert last["signal"] == "SIGKILL"
    assert "the last words" in last["stderr_tail"]
    assert last["function"] == "misbehave"
    assert dev.get("/api/misbehave").status == 200


def test_a_handler_that_exits_is_a_process_that_died(dev: NetlifyDev) -> None:
    assert code_of(dev.get("/api/misbehave?how=exits")) == "function_died"
    assert logged(dev, "function_died")[-1]["exit_code"] == 3
    assert dev.get("/api/misbehave").status == 200


def test_a_hanging_handler_is_ended_in_time_and_the_next_request_works(dev: NetlifyDev) -> None:
    began = time.monotonic()
    reply = dev.get("/api/hang")

    assert code_of(reply) == "function_timeout"
    assert time.monotonic() - began < 20, "the limit of this function is 2 s"
    pid = logged(dev, "function_timeout")[-1]["pid"]
    wait_until(lambda: pid not in running_function(dev, "hang"))
    assert dev.get("/api/hang?not=1").status == 200


def test_a_request_behind_hanging_ones_is_answered_by_its_own_limit(dev: NetlifyDev) -> None:
    began = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(dev.get, ["/api/hang"] * 8))

    assert {code_of(reply) for reply in replies} == {"function_timeout"}
    assert time.monotonic() - began < 20, "waiting for a process counts"
    assert dev.get("/api/hang?not=1").status == 200


def test_a_module_that_hangs_while_it_is_imported_is_ended_too(dev: NetlifyDev) -> None:
    hang = dev.site / "netlify" / "functions" / "hang.py"
    before = hang.read_text()
    hang.write_text("while True: pass\n")
    try:
        wait_until(lambda: bool(running_function(dev, "hang")))  # started for the new code, and nobody asks
        wait_until(lambda: not running_function(dev, "hang"))
        assert code_of(dev.get("/api/hang")) == "function_timeout"
        wait_until(lambda: not running_function(dev, "hang"))
    finally:
        hang.write_text(before)

    assert dev.get("/api/hang?not=1").status == 200


def test_a_killed_supervisor_leaves_nothing_and_is_started_again(dev: NetlifyDev) -> None:
    dev.get("/api/hello")
    children = {process.pid for process in dev.python_processes()}
    [supervisor] = dev.supervisors()
    with ThreadPoolExecutor(1) as threads:
        hanging = threads.submit(dev.get, "/api/hang")
        wait_until(lambda: bool(running_function(dev, "hang")))
        time.sleep(0.5)
        children |= {process.pid for process in dev.python_processes()}
        supervisor.kill()

        assert code_of(hanging.result()) == "function_unavailable"
    wait_until(lambda: not children & {process.pid for process in dev.python_processes()})
    assert dev.get("/api/hello").status == 200
    assert len(dev.supervisors()) == 1


def test_a_supervisor_that_is_gone_before_it_took_a_request_is_followed_by_another(dev: NetlifyDev) -> None:
    dev.get("/api/hello")
    [supervisor] = dev.supervisors()
    supervisor.suspend()  # connections are still accepted for it, as while a killed process ends
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(dev.get, "/api/hello")
        time.sleep(0.5)
        supervisor.kill()

        assert waiting.result().status == 200


def test_a_request_under_way_when_the_supervisor_is_killed_gets_an_answer(dev: NetlifyDev) -> None:
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(dev.get, "/api/misbehave?how=sleeps")
        wait_until(lambda: bool(dev.supervisors()))
        time.sleep(0.1)
        for supervisor in dev.supervisors():
            supervisor.kill()
        reply = slow.result()

    assert reply.status in (200, 502)
    assert dev.get("/api/hello").status == 200
