"""Starting and stopping: in a thread and as a command, several at once, and nothing left afterwards."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from simulator import Simulator, SimulatorSettings
from tests.fixtures.simulator import PHONE, CallbackReceiver, DarajaCaller, http_request

ROOT = Path(__file__).parents[2]


def open_files() -> set[str]:
    return {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _exists(fd)}


def _exists(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files through /proc, which only Linux has")
def test_a_stopped_simulator_leaves_no_thread_and_no_open_file(receiver: CallbackReceiver) -> None:
    before_threads, before_files = set(threading.enumerate()), open_files()
    simulator = Simulator().start()
    caller = DarajaCaller(simulator, f"{receiver.base_url}/callback")
    simulator.client.script(None, "pay", after_s=0, push_latency_s=0)
    simulator.client.wait_for_callback(caller.accepted())
    caller.accepted(PhoneNumber="254722111111")  # its prompt stays open
    with urllib.request.urlopen(f"{simulator.base_url}/control/events", timeout=10) as events:
        events.readline()
        simulator.stop()
        assert b"data:" not in events.read()
    assert set(threading.enumerate()) - before_threads <= {
        thread for thread in threading.enumerate() if "process_request" in thread.name
    }
    assert open_files() <= before_files


def test_stopping_while_a_push_waits_does_not_hang() -> None:
    simulator = Simulator().start()
    caller = DarajaCaller(simulator, "http://127.0.0.1:9/")
    simulator.client.script(None, push_latency_s=3600)
    caller.token()
    ended = threading.Event()

    def push() -> None:
        try:
            caller.push()
        except (OSError, ValueError):
            pass
        finally:
            ended.set()

    pushing = threading.Thread(target=push)
    pushing.start()
    simulator.client.wait_for(lambda: simulator.client.payments() or None, "the push", 10)
    simulator.stop()
    assert ended.wait(10)
    pushing.join()


def test_stopping_twice_or_before_the_start_is_harmless() -> None:
    simulator = Simulator()
    simulator.stop()
    simulator.start()
    simulator.stop()
    simulator.stop()


def test_several_run_at_once_and_know_nothing_of_each_other() -> None:
    with Simulator() as one, Simulator() as other:
        assert one.port != other.port
        assert one.smtp_port != other.smtp_port
        caller = DarajaCaller(one, "http://127.0.0.1:9/")
        one.client.script(None, push_latency_s=0)
        caller.accepted()
        one.client.advance(1000)
        assert len(one.client.payments()) == 1
        assert other.client.payments() == []
        assert one.client.info()["now"] > other.client.info()["now"]
        headers = {"Authorization": f"Bearer {caller.token()}"}
        refused = http_request(other.base_url, "POST", "/mpesa/stkpush/v1/processrequest", headers, b"{}")
        assert refused.json()["errorCode"] == "404.001.03"


def test_the_same_seed_gives_the_same_tokens_and_receipts() -> None:
    def told(seed: int) -> tuple[str, str]:
        with Simulator(SimulatorSettings(seed=seed)) as simulator:
            caller = DarajaCaller(simulator, "http://127.0.0.1:9/")
            simulator.client.script(PHONE, "pay", after_s=0, push_latency_s=0)
            simulator.client.wait_for_callback(caller.accepted())
            return caller.token(), simulator.client.ledger()[0]["receipt"][3:]

    assert told(7) == told(7) != told(8)


def test_a_taken_port_is_an_error_at_the_start() -> None:
    with Simulator() as first, pytest.raises(OSError, match="in use"):
        Simulator(port=first.port).start()


def test_the_command_tells_its_addresses_serves_and_ends_cleanly() -> None:
    command = [sys.executable, "-m", "simulator", "--port", "0", "--push-latency", "0", "--no-answer-after", "5"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            assert found is not None
            assert http_request(found[0], "GET", "/control/behaviour").json()["no_answer_after_s"] == 5
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "")


def test_the_command_says_when_its_port_is_taken_or_an_option_is_wrong() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = _command("--port", port)
    assert refused.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in refused.stderr
    assert "--port" in refused.stderr
    wrong = _command("--port", "0", "--push-latency", "-1")
    assert (wrong.returncode, wrong.stderr.split(":")[:2]) == (2, ["simulator", " push_latency_s"])


def _command(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "simulator", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
