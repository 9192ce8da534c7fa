"""What `make dev` prints for the operator is enough to try every command on its books."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

from dev.make_dev import for_the_operator
from dev.stack import ROOT
from tests.fixtures.site import Site


def test_the_printed_line_opens_the_books_and_checks_their_signatures(site: Site) -> None:
    order = {"phone_number": "254700004401", "amount": 10, "account_reference": "OPERATOR"}
    assert site.request("POST", "/api/pay/stkpush", order).status == 202
    elsewhere = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    ran = subprocess.run(
        ["sh", "-c", f"{for_the_operator(site.stack)}; {shlex.quote(sys.executable)} -m ops audit verify"],
        check=False, cwd=ROOT, env=elsewhere, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "0 things wrong" in ran.stdout
