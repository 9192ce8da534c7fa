"""Security headers as a real browser takes them: every page and function, a whole payment, and pages of other sites."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Response, expect

from shared.edge import SECURITY_HEADERS
from tests.browser.customer import Customer
from tests.browser.scripted_shop import at_the_stack, static_headers
from tests.fixtures.http_server import Handler, serving
from tests.fixtures.site import Site

PUBLIC = Path(__file__).parents[2] / "public"
PAGES = ["/", "/no-such-page", *(f"/{page.name}" for page in sorted(PUBLIC.glob("*.html")))]
FILES = [f"/{file.relative_to(PUBLIC)}" for file in sorted(PUBLIC.rglob("*")) if file.is_file()]
KINDS = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": r"(text|application)/javascript",
    ".json": "application/json",
    ".svg": r"image/svg\+xml",
    ".txt": "text/plain",
}
FOR_ANY_PAGE = {"/openapi.json", "/catalogue.json", "/lipa/lipa.js"}
NOBODY = "00000000-0000-4000-8000-000000000000"
FUNCTIONS = [
    ("POST", "/api/pay/stkpush", 422),
    ("GET", f"/api/pay/status/{NOBODY}", 404),
    ("POST", "/api/pay/invoice", 422),
    ("POST", f"/api/pay/callback/{NOBODY}/{'0' * 64}", 404),
    ("POST", "/.netlify/functions/stkpush", 422),
    ("GET", "/api/nosuch", 404),
]


@pytest.fixture
def customer(page: Page, site: Site) -> Iterator[Customer]:
    """Somebody at the shop; whatever the test did, the browser had nothing to complain about."""
    visiting = Customer(page, at_the_stack(page, site))
    yield visiting
    assert visiting.complaints() == []


@pytest.fixture
def elsewhere(page: Page) -> Iterator[Page]:
    """A page of another site, which has no rules of its own."""

    class Elsewhere(Handler):
        def do_GET(self) -> None:
            self.answer(200, b"<p>Elsewhere</p>", {"Content-Type": "text/html"})

    with serving(Elsewhere) as address:
        page.goto(address)
        yield page


def answers_to(page: Page) -> list[Response]:
    """Every answer that the page gets from now on."""
    answers: list[Response] = []

    def note(answer: Response) -> None:
        answers.append(answer)

    page.on("response", note)
    return answers


def is_a_safe_page(headers: dict[str, str]) -> None:
    for name, value in static_headers("/").items():
        assert headers[name.lower()] == value
    rules = dict(rule.strip().partition(" ")[::2] for rule in headers["content-security-policy"].split(";"))
    assert rules["default-src"] == "'none'"
    assert (rules["frame-ancestors"], rules["base-uri"]) == ("'none'", "'none'")
    assert set(rules.values()) <= {"'none'", "'self'"}  # no inline code, no other host, no eval


def is_a_safe_answer(headers: dict[str, str]) -> None:
    assert {name: headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_safe_and_the_browser_has_nothing_to_complain(customer: Customer, site: Site, path: str) -> None:
    answers = answers_to(customer.page)
    shown = customer.page.goto(site.url + path, wait_until="networkidle")
    assert shown is not None
    assert shown.status == (404 if path == "/no-such-page" else 200)
    is_a_safe_page(shown.all_headers())
    expect(customer.page.locator("body")).not_to_be_empty()
    for answer in answers:
        is_a_safe_page(answer.all_headers())


@pytest.mark.parametrize("path", FILES)
def test_every_file_says_what_it_is(site: Site, path: str) -> None:
    answer = site.request("GET", path)
    assert re.match(KINDS[Path(path).suffix], answer.headers["content-type"])
    is_a_safe_page(dict(answer.headers))
    assert answer.headers.get("access-control-allow-origin") == ("*" if path in FOR_ANY_PAGE else None)


@pytest.mark.parametrize(("method", "path", "status"), FUNCTIONS)
def test_every_function_answers_a_page_with_safe_headers(
    customer: Customer, site: Site, method: str, path: str, status: int
) -> None:
    customer.page.goto(site.url)
    ask = """([method, path]) => fetch(path, {
        method, headers: { "Content-Type": "application/json" }, body: method === "POST" ? "{}" : undefined
    }).then((answer) => answer.status)"""
    with customer.page.expect_response(lambda answer: urlsplit(answer.url).path == path) as answered:
        assert customer.page.evaluate(ask, [method, path]) == status
    is_a_safe_answer(answered.value.all_headers())


def test_a_whole_payment_breaks_no_rule_and_every_answer_on_the_way_is_safe(customer: Customer, site: Site) -> None:
    answers = answers_to(customer.page)
    customer.opens("amount=850&reference=SAFE47")
    customer.pays("0700 000 047", email="wanjiku@example.com")
    customer.sees("Check your phone")
    site.simulator.wait_for_prompt("254700000047")
    site.simulator.answer("254700000047", "pin")
    customer.sees("Paid. Asante!")
    paths = {urlsplit(answer.url).path for answer in answers}
    assert {"/lipa/lipa.js", "/api/pay/stkpush"} <= paths
    assert any(path.startswith("/api/pay/status/") for path in paths)
    for answer in answers:
        (is_a_safe_answer if "/api/" in answer.url else is_a_safe_page)(answer.all_headers())


INJECTIONS = {
    "an inline script": "const it = document.createElement('script'); it.textContent = 'window.harmed = true';"
    " document.body.append(it);",
    "an event handler": "document.body.insertAdjacentHTML('beforeend',"
    ' \'<img src="/x" onerror="window.harmed = true">\');',
    "a script of another site": "const it = document.createElement('script'); it.src = 'https://evil.example/x.js';"
    " document.body.append(it);",
    "an inline style": "document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">x</p>');",
    "a frame": "document.body.insertAdjacentHTML('beforeend', '<iframe src=\"https://evil.example/\"></iframe>');",
    "a request to another site": "fetch('https://evil.example/').catch(() => {});",
    "another base address": "document.head.insertAdjacentHTML('beforeend', '<base href=\"https://evil.example/\">');",
}


@pytest.mark.parametrize("what", INJECTIONS)
def test_what_is_injected_into_the_checkout_does_nothing(page: Page, site: Site, what: str) -> None:
    visiting = Customer(page, site.url)
    page.goto(site.url)
    page.evaluate(f"() => {{ {INJECTIONS[what]} }}")
    visiting.is_stopped_by_the_browser()
    assert page.evaluate("window.harmed") is None


ASK_FROM_ELSEWHERE = """([url, method]) => fetch(url, {
    method, headers: { "Content-Type": "application/json" }, body: method === "POST" ? "{}" : undefined
}).then(async (answer) => [answer.status, answer.headers.get("retry-after"), (await answer.json()).code],
        () => "refused by the browser")"""


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/api/pay/stkpush"), ("GET", f"/api/pay/status/{NOBODY}"), ("POST", "/api/pay/invoice")],
)
def test_a_page_of_another_site_may_not_ask(elsewhere: Page, site: Site, method: str, path: str) -> None:
    with elsewhere.expect_console_message(lambda message: "blocked by CORS policy" in message.text) as told:
        assert elsewhere.evaluate(ASK_FROM_ELSEWHERE, [site.url + path, method]) == "refused by the browser"
    assert "No 'Access-Control-Allow-Origin' header" in told.value.text


def test_a_page_of_an_allowed_origin_may_ask_and_reads_the_reason(browser: Browser, site: Site) -> None:
    """The stack allows http://localhost too, which is another origin than http://127.0.0.1."""
    allowed = f"http://localhost:{urlsplit(site.url).port}"
    order = {"phone_number": "254700000048", "amount": 10, "account_reference": "OTHERORIGIN"}
    ask = ASK_FROM_ELSEWHERE.replace('"{}"', f"'{json.dumps(order)}'")
    context = browser.new_context(bypass_csp=True)  # the shop's own pages ask nobody else
    try:
        page = context.new_page()
        page.goto(allowed)
        assert page.evaluate(ask, [f"{site.url}/api/pay/stkpush", "POST"])[0] == 202
        status, wait_s, code = page.evaluate(ask, [f"{site.url}/api/pay/stkpush", "POST"])
    finally:
        context.close()
    assert (status, code) == (429, "too_soon")
    assert int(wait_s) > 0


def test_nobody_can_put_the_checkout_into_a_frame(elsewhere: Page, site: Site) -> None:
    elsewhere.set_content(f'<iframe src="{site.url}/"></iframe>')
    frame = elsewhere.frames[-1]
    frame.wait_for_load_state()
    assert frame.locator("main").count() == 0
