"""What `make dev` prints for the operator is enough to try every command on its books."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys

from dev.make_dev import for_the_operator
from dev.stack import ROOT
from tests.fixtures.site import Site


def ops(site: Site, *command: str) -> subprocess.CompletedProcess[str]:
    """As an operator runs it who begins with the printed line."""
    elsewhere = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    words = shlex.join([sys.executable, "-m", "ops", *command])
    return subprocess.run(
        ["sh", "-c", f"{for_the_operator(site.stack)} && {words}"],
        check=False, cwd=ROOT, env=elsewhere, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_the_printed_line_opens_the_books_and_checks_their_signatures(site: Site) -> None:
    order = {"phone_number": "254700004401", "amount": 10, "account_reference": "OPERATOR"}
    assert site.request("POST", "/api/pay/stkpush", order).status == 202
    ran = ops(site, "audit", "verify")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "0 things wrong" in ran.stdout


def test_doctor_finds_the_way_through_the_whole_stack(site: Site) -> None:
    assert site.stack.sweep() == 200
    found: dict[str, list[str]] = {}
    for each in json.loads(ops(site, "doctor", "--live", site.url, "--json").stdout)["checks"]:
        found.setdefault(each["verdict"], []).append(each["name"])
    assert set(found.get("failed", ())) <= {"alerts", "review"}  # other tests have used this stack
    assert {"daraja_token", "mail", "callback_answer", "test_callback", "deployed", "sweep"} <= set(found["ok"])
