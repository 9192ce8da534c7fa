"""`make demo`: it succeeds beside whatever has the usual ports, hides the number, shows the invoice, and fails when
the payment does."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dev.demo import Demo, DemoFailed, own_stack
from dev.demo_page import Page
from dev.stack import ROOT, FolderBusy, locked
from tests.fixtures.site import Site


def test_the_demo_pays_and_invoices_while_the_usual_ports_are_taken() -> None:
    with socket.socket() as shop, socket.socket() as phone:
        for somebody in (shop, phone):
            somebody.bind(("127.0.0.1", 0))
            somebody.listen()
        ports = {"PORT": str(shop.getsockname()[1]), "SIM_PORT": str(phone.getsockname()[1])}
        done = subprocess.run(
            [sys.executable, "-m", "dev.demo"],
            cwd=ROOT, env=os.environ | ports, capture_output=True, text=True, timeout=800, check=False,
        )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert "✗" not in done.stdout
    assert "the payment is PAID" in done.stdout
    assert "exactly one e-mail" in done.stdout
    assert "every invariant of the database holds" in done.stdout
    assert f"http://127.0.0.1:{ports['PORT']}/" in done.stdout
    assert f"http://127.0.0.1:{ports['SIM_PORT']}/mail" in done.stdout
    invoice = done.stdout.partition("The invoice, as it arrived")[2]
    assert re.search(r"Subject: +Invoice INV-\d{4}-000001 from Duka la Mfano: KES [\d,]+, paid", invoice)
    assert re.search(r"Total paid: +KES [\d,]+\n", invoice)
    assert re.search(r"^ *1 \u00d7 .+: KES [\d,]+", invoice, re.MULTILINE)
    assert "\x1b" not in done.stdout
    screens = [line for line in done.stdout.splitlines() if "☎" in line]
    assert screens
    elsewhere = "\n".join(line for line in done.stdout.splitlines() if "☎" not in line)
    number = re.search(r"\+254(\d{9})", screens[0])
    assert number
    assert number[1] not in elsewhere


def test_a_second_demo_at_once_is_refused_and_does_not_disturb_the_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("dev.demo.STATE", tmp_path)
    (tmp_path / "demo").mkdir()
    with locked(tmp_path / "demo", {"pid": 4242}), pytest.raises(FolderBusy, match="process 4242"):
        own_stack()
    assert (tmp_path / "demo" / "stack.lock").exists()


def test_the_demo_fails_when_mpesa_does_not_take_the_push(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.simulator.kill_token()  # an earlier test may have left a good one
    site.simulator.fault("oauth", "error_500", times=20)
    try:
        with pytest.raises(DemoFailed, match="not accepted: HTTP 503"):
            Demo(site.stack, Page(colour=False)).run()
    finally:
        site.simulator.reset()

    assert '"unavailable"' in capsys.readouterr().out


def test_the_demo_fails_when_a_check_fails(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    demo = Demo(site.stack, Page(colour=False))
    site.simulator.script(phone=demo.phone, paid_amount=700, callback_amount_told="750")  # it buys one coffee

    with pytest.raises(DemoFailed, match="Something is not right"):
        demo.run()

    assert "✗ KES 750 moved, once" in capsys.readouterr().out
