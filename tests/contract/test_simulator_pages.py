"""The simulator's pages as files: nothing from outside, no inline code, safe headers. How they look: tests/browser."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from simulator import Simulator
from tests.fixtures.simulator import PHONE, http_request

FILES = Path(__file__).parents[2] / "simulator" / "web"
PAGES = ["/", "/phone", f"/phone/{PHONE}", "/mail"]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_allows_nothing_but_its_own_files(simulator: Simulator, path: str) -> None:
    answer = http_request(simulator.base_url, "GET", path)
    assert answer.status == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    for file in re.findall(r'(?:href|src)="(/web/[^"]+)"', answer.body.decode()):
        assert http_request(simulator.base_url, "GET", file).status == 200


@pytest.mark.parametrize("file", sorted(FILES.glob("*.html")), ids=lambda file: file.name)
def test_a_page_has_no_inline_code_and_loads_nothing_from_outside(file: Path) -> None:
    html = file.read_text()
    assert re.findall(r"<script(?![^>]*\bsrc=)", html) == []
    assert "<style" not in html
    assert re.findall(r"\s(?:on\w+|style)=", html) == []
    assert re.findall(r'(?:src|href)="(?:https?:)?//', html) == []
    assert '<html lang="en">' in html
    assert 'name="viewport"' in html


@pytest.mark.parametrize("file", sorted(FILES.glob("*.*s")), ids=lambda file: file.name)
def test_scripts_and_styles_load_nothing_from_outside_and_write_no_html(file: Path) -> None:
    code = file.read_text()
    assert "http://www" not in code
    assert "https://" not in code
    assert "innerHTML" not in code
    assert "@import url" not in code


@pytest.mark.parametrize("path", ["/phone/0722000000", "/phone/254822000000", "/web/none.js", "/web/..%2fserver.py"])
def test_what_is_no_page_is_not_found(simulator: Simulator, path: str) -> None:
    assert http_request(simulator.base_url, "GET", path).status == 404


def test_a_mails_html_is_shut_in_a_sandbox(simulator: Simulator) -> None:
    message = {
        "personalizations": [{"to": [{"email": "alice@example.com"}]}],
        "from": {"email": "invoices@shop.example"},
        "subject": "Invoice",
        "content": [{"type": "text/html", "value": "<p>Asante</p><script>alert(1)</script>"}],
    }
    headers = {"Authorization": "Bearer SG.simulator", "Content-Type": "application/json"}
    sent = http_request(simulator.base_url, "POST", "/v3/mail/send", headers, json.dumps(message).encode())
    answer = http_request(simulator.base_url, "GET", f"/mail/{sent.headers['x-message-id']}/html")
    assert answer.body == b"<p>Asante</p><script>alert(1)</script>"
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none';")
    assert http_request(simulator.base_url, "GET", "/mail/none/html").status == 404


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:1", 200),
        ("localhost", 200),
        ("attacker.example:8890", 421),
        ("127.0.0.1.attacker.example", 421),
        ("", 421),
    ],
)
def test_a_page_of_another_site_that_took_our_address_gets_nothing(
    simulator: Simulator, host: str, status: int
) -> None:
    for path in ("/", "/control/info"):
        assert http_request(simulator.base_url, "GET", path, {"Host": host}).status == status
