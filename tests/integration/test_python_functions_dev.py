"""Python functions in `netlify dev`, with the real CLI and a site of toy functions."""

import os
import signal
import subprocess
import venv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dev.ports import free_port
from dev.stack import netlify_dev
from tests.fixtures.python_functions import PLUGIN, ROOT, NetlifyDev, running, toy_site, wait_until

PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetlifyDev]:
    tunnel = {"TUNNEL": "https://other.example, https://tunnel.example/api"}
    with running(toy_site(tmp_path_factory.mktemp("toys")), tunnel) as started:
        yield started


def test_a_python_function_answers_with_a_genuine_lambda_context(dev: NetlifyDev) -> None:
    reply = dev.request("POST", "/api/hello/more?a=1", '{"amount": 10}', {"content-type": "application/json"})

    assert (reply.status, reply.kind) == (200, "application/json")
    assert reply.json["path"] == "/api/hello/more"
    assert reply.json["method"] == "POST"
    assert reply.json["body"] == '{"amount": 10}'
    assert reply.json["request_id"]
    assert 20_000 < reply.json["remaining_ms"] <= 28_000


def test_a_warm_call_is_answered_by_the_same_process(dev: NetlifyDev) -> None:
    assert dev.get("/api/hello").json["pid"] == dev.get("/api/hello").json["pid"]


def test_what_python_prints_is_shown_with_the_functions_name(dev: NetlifyDev) -> None:
    dev.get("/api/hello")

    wait_until(lambda: "◈ hello  saying Habari" in dev.log())


def test_a_page_of_another_site_that_took_our_address_reaches_no_function(dev: NetlifyDev) -> None:
    for host, status in (("attacker.example", 421), (f"localhost:{dev.port}", 200), ("tunnel.example", 200)):
        reply = dev.request("GET", "/api/hello", headers={"Host": host})
        assert reply.status == status, host
        assert status == 200 or (reply.kind, reply.json["code"]) == (PROBLEM, "unknown_host")


def test_a_helper_whose_name_begins_with_an_underscore_is_no_function(dev: NetlifyDev) -> None:
    assert dev.get("/api/_answers").status == 404


@pytest.mark.parametrize("file", ["shared/greeting.py", "netlify/functions/hello.py"])
def test_a_saved_file_is_the_code_of_the_next_request(dev: NetlifyDev, file: str) -> None:
    source = dev.site / file
    before = source.read_text()
    pid = dev.get("/api/hello").json["pid"]
    try:
        if "WORD =" in before:
            source.write_text(before.replace("Habari", "Mambo!"))
        else:
            source.write_text(before.replace("word=WORD", 'word="Mambo!"'))
        after = dev.get("/api/hello").json
    finally:
        source.write_text(before)

    assert after["word"] == "Mambo!"
    assert after["pid"] != pid


def test_a_request_under_way_is_finished_by_the_code_that_began_it(dev: NetlifyDev) -> None:
    greeting = dev.site / "shared" / "greeting.py"
    pid, before = dev.get("/api/misbehave").json["pid"], dev.log().count("◈ misbehave  asleep")
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(dev.get, "/api/misbehave?how=sleeps")
        wait_until(lambda: dev.log().count("◈ misbehave  asleep") > before)
        greeting.write_text(greeting.read_text() + "\n")
        dev.get("/api/hello")

        assert slow.result().json["pid"] == pid


def test_a_module_that_cannot_be_imported_shows_its_traceback_and_recovers(dev: NetlifyDev) -> None:
    greeting = dev.site / "shared" / "greeting.py"
    before = greeting.read_text()
    greeting.write_text(before + "\nnot_defined_anywhere\n")
    try:
        broken = dev.get("/api/hello")
    finally:
        greeting.write_text(before)
    mended = dev.get("/api/hello")

    assert (broken.status, broken.kind) == (502, PROBLEM)
    assert broken.json["code"] == "function_unavailable"
    for shown in (broken.json["detail"], dev.log()):
        assert "Traceback (most recent call last)" in shown
        assert 'shared/greeting.py", line 6' in shown
        assert "NameError: name 'not_defined_anywhere' is not defined" in shown
    assert mended.status == 200


def test_an_exception_is_shown_where_the_developer_looks(dev: NetlifyDev) -> None:
    reply = dev.get("/api/misbehave?how=raises")

    assert (reply.status, reply.kind) == (502, PROBLEM)
    assert reply.json["code"] == "function_failed"
    assert "netlify/functions/misbehave.py" in reply.json["detail"]
    assert "ValueError: a secret thing went wrong" in reply.json["detail"]
    wait_until(lambda: "◈ misbehave  ValueError" in dev.log() or "] ValueError: a secret thing" in dev.log())


@pytest.mark.parametrize("how", ["no answer", "no text", "too large"])
def test_what_is_no_http_answer_is_a_failure_and_not_a_broken_page(dev: NetlifyDev, how: str) -> None:
    reply = dev.get(f"/api/misbehave?how={how.replace(' ', '%20')}")

    assert (reply.status, reply.kind, reply.json["code"]) == (502, PROBLEM, "function_failed")
    assert dev.get("/api/misbehave").status == 200


def test_fifty_requests_at_once_are_all_answered_by_a_few_processes(dev: NetlifyDev) -> None:
    with ThreadPoolExecutor(50) as threads:
        replies = list(threads.map(dev.get, ["/api/misbehave?how=sleeps"] * 50))

    assert [reply.status for reply in replies] == [200] * 50
    assert 1 < len({reply.json["pid"] for reply in replies}) <= 3
    assert len([process for process in dev.python_processes() if "misbehave" in " ".join(process.cmdline())]) <= 3


def test_an_entry_is_written_only_where_it_changes_while_another_may_load_it(tmp_path: Path) -> None:
    def entry_with(line: str) -> int:
        code = "require(process.argv[1]).writeEntries(process.argv[2], '.cjs', {hello: [process.argv[3]]})"
        node = ROOT / ".venv" / "bin" / "node"
        subprocess.run([str(node), "-e", code, str(PLUGIN / "entries.js"), str(tmp_path), line], check=True)
        (entry,) = tmp_path.rglob("hello.cjs")
        assert line in entry.read_text()
        written_at = entry.stat().st_mtime_ns
        os.utime(entry, ns=(1, 1))
        return written_at

    assert entry_with("first") != 1
    assert entry_with("first") == 1
    assert entry_with("second") != 1


def test_a_scheduled_function_called_by_http_gets_the_platforms_event(dev: NetlifyDev) -> None:
    """The CLI runs no schedules. It answers 200 and a help text, whatever the function answered."""
    reply = dev.request("POST", "/.netlify/functions/tick", "")

    assert reply.status == 200
    assert "scheduled function" in reply.text
    wait_until(lambda: "◈ tick  tick 1" in dev.log())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_netlify_dev_ends(tmp_path: Path, how: signal.Signals) -> None:
    site = toy_site(tmp_path)
    with running(site) as dev:
        with ThreadPoolExecutor(9) as threads:
            list(threads.map(dev.get, ["/api/hello"] * 6))
            idle = len(dev.python_processes())
            hanging = [threads.submit(dev.get, "/api/hang") for _ in range(3)]
            wait_until(lambda: len(dev.python_processes()) > idle or all(request.done() for request in hanging))
            dev.end(how)
            for request in hanging:
                request.exception(60)

        wait_until(dev.nothing_is_left)


def test_an_interpreter_without_the_runtime_client_is_told_what_to_install(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    site = toy_site(tmp_path)

    ended = subprocess.run(
        netlify_dev(free_port()),
        check=False,
        cwd=site,
        env={**os.environ, "PYTHON_FUNCTIONS_PYTHON": str(tmp_path / "bare" / "bin" / "python")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=800,
    )

    assert ended.returncode != 0
    assert "cannot import awslambdaric" in ended.stdout + ended.stderr
    assert "install the site's requirements into it" in ended.stdout + ended.stderr
