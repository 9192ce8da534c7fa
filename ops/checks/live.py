"""The deployed shop, from outside: the callback's address as Safaricom meets it, and what the functions see."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import certifi
import requests

from ops.checks import Finding, Shop, failed, ok, skipped, warning
from ops.words import visible
from shared.call_out import Answer, send
from shared.daraja.answers import Unanswered, Unavailable
from shared.daraja.callback_address import callback_url
from shared.deadline import Deadline
from shared.deployed import HEADER, name_of, proof
from shared.environment_variables import EXAMPLE_HOST, TABLE, fits
from shared.settings import CallbackSettings
from shared.values import new_test_id

ADDRESS_PAGE = "docs/deploying.md, step 7"
BANNED = re.compile("m-?pesa|safaricom|exe|cmd|sql|query", re.IGNORECASE)
"""What Safaricom asks to keep out of callback addresses (Daraja portal, C2B, URL Requirements)."""
TESTERS = re.compile(
    r"(^|\.)(ngrok(-free)?\.(io|app|dev)|trycloudflare\.com|loca\.lt|localtunnel\.me|serveo\.net|localhost\.run|"
    r"lhr\.life|mockbin\.(org|io)|requestbin\.(com|net)|webhook\.site|pipedream\.net|beeceptor\.com)$"
)
PRIVATE = re.compile(
    r"localhost|.*\.(local|internal)|127\..*|10\..*|192\.168\..*|172\.(1[6-9]|2\d|3[01])\..*|\[?(::1|f[cd]).*"
)
NOT_TRUSTED = {
    10: "it has expired",
    18: "it is self-signed",
    19: "it comes from a private authority",
    20: "its chain has a gap: the server does not send every certificate between its own and a known authority",
    62: "it is for another host name",
    64: "it is for another address",
}
A_JAVA_CLIENT = {"User-Agent": "Apache-HttpClient/4.5.14 (Java/17)", "Content-Type": "application/json"}
SLOW_S, ANSWERS_WITHIN_S = 2, 15
FAR_MS = 50
"""Two round trips."""
REGION = re.compile(r"(?<![a-z])(?:af|ap|ca|eu|il|me|mx|sa|us)-[a-z]+-[1-9]")
"""Of AWS, as hosts of databases name it."""
RENEW_DAYS = 7


def callback_address(shop: Shop) -> Iterator[Finding]:
    url = urlsplit(callback_of(shop).url)
    host, found = url.hostname or "", 0
    grave = failed if shop.in_production else warning
    for wrong, says in (
        (url.scheme != "https", "is not https"),
        (PRIVATE.fullmatch(host), "is of this machine or a private network: only a simulator can call it"),
        (TESTERS.search(host), "goes through a tunnel or a public tester, which Safaricom blocks"),
        (fits(EXAMPLE_HOST, url.geturl()), "is an example's"),
        (host.endswith(".netlify.app") and "--" in host, "is one deploy's, which no later deploy replaces"),
    ):
        if wrong:
            found += 1
            yield grave(f"MPESA_CALLBACK_URL {says}", "https://YOUR-DOMAIN/api/pay/callback: docs/deploying.md, step 5")
    if banned := BANNED.search(f"{host}{url.path}"):
        found += 1
        ours_alone = url.path == "/api/mpesa/callback" and not BANNED.search(host)
        yield (warning if ours_alone else grave)(
            f"MPESA_CALLBACK_URL has “{banned[0].lower()}” in it, and Safaricom may refuse such addresses",
            "Use /api/pay/callback, the same function, on a domain without such words: docs/deploying.md, step 5",
        )
    if shop.live and urlsplit(shop.live).hostname != host:
        found += 1
        yield warning("MPESA_CALLBACK_URL is on another host than --live", "Correct the one that is wrong")
    if not found:
        yield ok("https, public, without a word that Safaricom refuses")


def callback_tls(shop: Shop) -> Finding:
    """With certifi's authorities alone, and no certificate that this machine may have kept."""
    url = urlsplit(callback_of(shop).url)
    if url.scheme != "https":
        return skipped("the address is not https")
    host, context = url.hostname or "", ssl.create_default_context(cafile=certifi.where())
    full_chain = (
        "Install the full chain of a public authority, as Netlify and Let's Encrypt give it: docs/deploying.md, step 4"
    )
    try:
        with (
            socket.create_connection((host, url.port or 443), ANSWERS_WITHIN_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            shown: Any = secured.getpeercert()
    except ssl.SSLCertVerificationError as refused:
        return failed(
            f"the certificate is not valid: {NOT_TRUSTED.get(refused.verify_code, refused.verify_message)}", full_chain
        )
    except ssl.SSLError as refused:
        return failed(f"no TLS with the callback address ({refused.reason})", full_chain)
    except OSError as lost:
        return failed(f"no connection to the callback address ({lost.strerror or type(lost).__name__})", ADDRESS_PAGE)
    days = (ssl.cert_time_to_seconds(shown["notAfter"]) - time.time()) / 86400
    if days < RENEW_DAYS:
        return warning(f"the certificate ends in {days:.0f} days", "Renew it; Netlify's renews itself")
    return ok("the certificate is valid, and its chain whole")


def callback_answer(shop: Shop) -> Finding:
    """A plain POST with a token that nobody signed: 404 in the API's form, and nothing between."""
    url = f"{callback_of(shop).url}/{new_test_id()}/{'0' * 64}"
    began = time.monotonic()
    answer = _post(url)
    took_s = time.monotonic() - began
    if isinstance(answer, Finding):
        return answer
    if (wrong := _not_ours(answer)) is not None:
        return wrong
    if took_s >= SLOW_S:
        began = time.monotonic()
        _post(url)
        took_s = time.monotonic() - began
    if took_s >= SLOW_S:
        return warning(f"404 as it should be, and only after {took_s:.1f} s", "docs/performance.md")
    return ok(f"a callback that nobody signed gets 404 in the API's form, in {took_s * 1000:.0f} ms")


def test_callback(shop: Shop) -> Finding:
    """Signed, to the id of no payment: stored with the outcome `test`, without an alert, in the database we see."""
    mine, transaction_id = callback_of(shop), new_test_id()
    answer = _post(callback_url(mine, transaction_id))
    if isinstance(answer, Finding):
        return answer
    if answer.status == 404:
        return failed(
            "the deployed functions do not know our signature: their CALLBACK_SECRET, set or derived, is another",
            "Run doctor with the site's own variables; or deploy: docs/deploying.md, Rotating secrets",
        )
    if answer.status != 200:
        return _not_ours(answer) or failed("a signed callback is not answered by 200", ADDRESS_PAGE)
    row = shop.database.row(
        "SELECT outcome FROM callback_inbox WHERE transaction_id = CAST(:id AS uuid)", id=transaction_id
    )
    if row is None:
        return failed(
            "the functions stored the callback in another database than this DATABASE_URL's",
            "Compare DATABASE_URL or NETLIFY_DB_URL here with the site's: docs/deploying.md, step 2",
        )
    if row["outcome"] not in ("test", None):
        return failed("the functions do not know test callbacks: they are of an older commit", "Deploy this checkout")
    return ok("a signed callback was stored in this database, and answered by 200")


def seen_by_functions(shop: Shop) -> dict[str, Any] | Finding:
    """What the deployed functions say of themselves (shared/deployed.py)."""
    secret = callback_of(shop).secrets[0]
    url = f"{callback_of(shop).url.removesuffix('/callback')}/status/doctor"
    answer = _ask(requests.Request("GET", url, headers={HEADER: proof(secret, datetime.now(UTC))}))
    if isinstance(answer, Finding):
        return answer
    said = _object(answer)
    if answer.status != 200 or not isinstance(said.get("database_ms"), int):
        unknown = "the deployed functions do not answer doctor: another CALLBACK_SECRET, or an older commit"
        known = _not_ours(answer) if answer.status != 404 else None
        return known or failed(unknown, "Run it with the site's own variables; or deploy this checkout")
    return said


def deployed(shop: Shop) -> Iterator[Finding]:
    said = seen_by_functions(shop)
    if isinstance(said, Finding):
        yield said
        return
    secret = callback_of(shop).secrets[0]
    stamp = shop.database.row("SELECT environment, stamped_at FROM installation")
    found = 0
    if stamp is None or said.get("database") != name_of(secret, stamp["environment"], stamp["stamped_at"]):
        found += 1
        yield failed(
            "the deployed functions use another database than this DATABASE_URL's", "docs/deploying.md, step 2"
        )
    if said.get("environment") != shop.given("MPESA_ENV"):
        found += 1
        yield failed("the deployed functions have another MPESA_ENV", "Set it for this deploy context, and deploy")
    if (commit := said.get("commit")) and (here := _commit_here()) and not here.startswith(str(commit)[:40]):
        found += 1
        yield warning("another commit is deployed than this checkout's", "Deploy, or check out what is deployed")
    home, region = REGION.search(shop.database.settings.host), said.get("region")
    elsewhere = f" ({visible(region)} and {home[0]})" if home and region and region != home[0] else ""
    if elsewhere or said["database_ms"] >= FAR_MS:
        found += 1
        yield warning(
            f"functions and database are far apart{elsewhere}: two round trips take {said['database_ms']} ms",
            "Put both in one region: docs/deploying.md, step 4",
        )
    if not found:
        where = ", ".join(f"{key} {visible(said[key])}" for key in ("commit", "context", "region") if said.get(key))
        yield ok(f"the functions see this database, {said['database_ms']} ms away{where and '; '}{where}")


def callback_of(shop: Shop) -> CallbackSettings:
    """At the address of --live, where that is given."""
    mine = shop.settings.need("callback").callback
    path = urlsplit(mine.url).path
    return mine if shop.live is None else CallbackSettings(shop.live + path, mine.secrets, mine.confirm_above_kes)


def _post(url: str) -> Answer | Finding:
    return _ask(requests.Request("POST", url, headers=A_JAVA_CLIENT, data=b"{}"))


def _ask(request: requests.Request) -> Answer | Finding:
    try:
        return send(request, Deadline.after(ANSWERS_WITHIN_S))
    except (Unavailable, Unanswered) as silent:
        return failed(f"the deployed shop gave no answer: {silent}", ADDRESS_PAGE)


def _not_ours(answer: Answer) -> Finding | None:
    """What stands between Safaricom and the function. None: it answered 404 itself."""
    said = _object(answer)
    match answer.status:
        case 404 if said.get("code") == "not_found":
            return None
        case 403:
            says = "a firewall or CDN answers 403: Safaricom's callbacks would not come through"
        case 401:
            says = "the site asks for a password"
        case status if 300 <= status < 400:
            says = "the address redirects: Safaricom does not follow. MPESA_CALLBACK_URL must be the last address"
        case 500 if said.get("code") == "misconfigured":
            fields = [each.get("field") for each in said.get("errors", []) if isinstance(each, dict)]
            names = [str(name) for name in fields if name in TABLE]
            return failed(
                f"the deployed functions lack settings: {', '.join(names)}",
                "Set them and deploy: docs/deploying.md, step 5",
            )
        case 503 if said.get("code"):
            return failed(
                "the deployed functions cannot reach their database",
                "The log of the function names the cause: docs/database.md",
            )
        case status if answer.body.lstrip()[:1] == b"<":
            says = f"a page of HTML ({status}) in place of the function: another site, or a challenge"
        case status:
            says = f"{status} in place of the function's 404"
    return failed(says, ADDRESS_PAGE)


def _object(answer: Answer) -> dict[str, Any]:
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _commit_here() -> str:
    """Empty where this is no checkout of git."""
    try:
        asked = subprocess.run(["git", "rev-parse", "HEAD"], check=False, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return asked.stdout.strip()
