"""`make demo`: it succeeds beside whatever holds the usual ports, hides the number, and fails when the payment does."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys

import pytest

from dev.demo import Demo, DemoFailed, Page
from dev.stack import ROOT
from tests.fixtures.site import Site


def test_the_demo_pays_invoices_and_does_its_sums_while_the_usual_ports_are_taken() -> None:
    with socket.socket() as shop, socket.socket() as phone:
        for somebody in (shop, phone):
            somebody.bind(("127.0.0.1", 0))
            somebody.listen()
        ports = {"PORT": str(shop.getsockname()[1]), "SIM_PORT": str(phone.getsockname()[1])}
        done = subprocess.run(
            [sys.executable, "-m", "dev.demo"],
            cwd=ROOT, env=os.environ | ports, capture_output=True, text=True, timeout=150, check=False,
        )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert "✗" not in done.stdout
    assert "the payment is PAID" in done.stdout
    assert "exactly one e-mail" in done.stdout
    assert "every invariant of the database holds" in done.stdout
    assert "\x1b" not in done.stdout
    screens = [line for line in done.stdout.splitlines() if "☎" in line]
    assert screens
    elsewhere = "\n".join(line for line in done.stdout.splitlines() if "☎" not in line)
    number = re.search(r"\+254(\d{9})", screens[0])
    assert number
    assert number[1] not in elsewhere


def test_two_demos_at_once_do_not_meet() -> None:
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "dev.demo"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(2)
    ]
    ends = [process.communicate(timeout=150)[0] for process in both]

    assert [process.returncode for process in both] == [0, 0], "\n".join(ends)
    assert not [folder for process in both for folder in (ROOT / ".lipa").glob(f"demo-{process.pid}")]


def test_the_demo_fails_when_mpesa_does_not_take_the_push(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.simulator.kill_token()  # an earlier test may have left a good one
    site.simulator.fault("oauth", "error_500", times=20)
    try:
        with pytest.raises(DemoFailed, match="not accepted: HTTP 503"):
            Demo(site.stack, Page(colour=False)).run()
    finally:
        site.simulator.reset()

    assert '"unavailable"' in capsys.readouterr().out


def test_the_demo_fails_when_a_sum_is_not_right(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    demo = Demo(site.stack, Page(colour=False))
    site.simulator.script(phone=demo.phone, paid_amount=1400, callback_amount_told="1500")

    with pytest.raises(DemoFailed, match="The sums are not right"):
        demo.run()

    assert "✗ KES 1,500 moved, once" in capsys.readouterr().out
