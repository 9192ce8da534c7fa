"""A small client of the control API, for tests and the demo. Standard library only.

Every `wait_…` raises a TimeoutError that says what was there instead.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from datetime import date
from typing import Any, TypeVar

Found = TypeVar("Found")
Shown = dict[str, Any]
"""A JSON object of the control API (docs/simulator.md)."""

EVERY_S = 0.05


class ControlError(Exception):
    """The control API refused: `http_status`, and `problem` as it answered."""

    def __init__(self, http_status: int, problem: object) -> None:
        super().__init__(f"HTTP {http_status}: {problem}")
        self.http_status = http_status
        self.problem = problem


class SimulatorClient:
    def __init__(self, base_url: str, *, timeout_s: float = 60) -> None:
        self.base_url = base_url.rstrip("/")
        self._timeout_s = timeout_s
        self._opener = _plain_http()

    # --- What happened ---

    def info(self) -> Shown:
        return self._object("GET", "/control/info")

    def payments(self) -> list[Shown]:
        """Accepted pushes, newest first."""
        return self._list("/control/payments")

    def payment(self, checkout_request_id: str) -> Shown:
        return next(one for one in self.payments() if one["checkout_request_id"] == checkout_request_id)

    def ledger(self) -> list[Shown]:
        """Money that really moved, newest first."""
        return self._list("/control/ledger")

    def account(self, shortcode: str, first: date, last: date) -> list[Shown]:
        """What was booked on a paybill or till, also charges and sweeps, newest first."""
        return self._list(f"/control/account?{_period(shortcode, first, last)}")

    def statement(self, shortcode: str, first: date, last: date, form: str = "a.csv") -> bytes:
        """The file of a period: simulator/statements.py, FORMS."""
        address = f"{self.base_url}/control/account/statement?{_period(shortcode, first, last)}&form={form}"
        with self._opener.open(address, timeout=self._timeout_s) as answer:
            content: bytes = answer.read()
        return content

    def requests(self, path: str | None = None) -> list[Shown]:
        """Every request to Daraja, or to one path of it, newest first."""
        return [one for one in self._list("/control/requests") if path is None or one["path"] == path]

    def mail(self) -> list[Shown]:
        """Newest first."""
        return self._list("/control/mail")

    def deliveries(self) -> list[Shown]:
        """Every e-mail that was brought, accepted or not, newest first."""
        return self._list("/control/deliveries")

    def phone(self, msisdn: str) -> Shown:
        return self._object("GET", f"/control/phones/{msisdn}")

    # --- What shall happen ---

    def script(self, phone: str | None = None, outcome: str | Shown | None = None, **knobs: object) -> None:
        """For the next push to this phone (None: to anybody). Knobs: simulator/scripts.py."""
        self._object("POST", "/control/scripts", {"phone": phone, "outcome": outcome, **knobs})

    def fault(self, where: str, kind: str, **more: object) -> None:
        """For the next requests to oauth, push, query or mail: simulator/outages.py."""
        self._object("POST", "/control/faults", {"where": where, "kind": kind, **more})

    def faults(self) -> list[Shown]:
        """Those that still wait, oldest first."""
        return self._list("/control/faults")

    def make_peace(self) -> None:
        """No more faults, scripts or hostility, and queries say the truth; callbacks under way are sent as planned."""
        self._object("POST", "/control/peace", {})

    def behave(self, **changes: object) -> None:
        """Change defaults until the reset: simulator/settings.py, Behaviour."""
        self._object("POST", "/control/behaviour", changes)

    def answer(self, msisdn: str, action: str, pin: str = "1234") -> None:
        """Answer the open prompt: pin, wrong_pin, cancel, ignore, no_funds. ControlError 409 when none is open."""
        self._object("POST", f"/control/phones/{msisdn}/answer", {"action": action, "pin": pin})

    def set_balance(self, msisdn: str, balance_kes: int) -> None:
        self._object("POST", f"/control/phones/{msisdn}/balance", {"balance_kes": balance_kes})

    def pay(self, msisdn: str, shortcode: str, amount_kes: int | str, account: str = "", way: str = "menu") -> str:
        """Pay a paybill or till by hand: menu, app or bank (also cents). Gives the receipt."""
        asked = {"msisdn": msisdn, "shortcode": shortcode, "amount_kes": amount_kes, "account": account, "way": way}
        return str(self._object("POST", "/control/account/pay", asked)["receipt"])

    def reverse(self, shortcode: str, receipt: str) -> None:
        """ControlError 409 where there is nothing left to reverse."""
        self._object("POST", "/control/account/reverse", {"shortcode": shortcode, "receipt": receipt})

    def kill_token(self) -> None:
        self._object("POST", "/control/token/kill", {})

    def advance(self, seconds: float) -> float | None:
        """Let time pass in the simulator only. Gives `wakes_in_s`; None on a clock that runs by itself."""
        wakes_in_s: float | None = self._object("POST", "/control/clock", {"advance_s": seconds})["wakes_in_s"]
        return wakes_in_s

    def reset(self, seed: int | None = None) -> None:
        """As freshly started; with a seed also in what it draws."""
        self._object("POST", "/control/reset", {"seed": seed})

    # --- Waiting ---

    def wait_for_prompt(self, msisdn: str, timeout_s: float = 60) -> Shown:
        """The payment whose prompt is open on this phone."""
        return self.wait_for(
            lambda: next((one for one in self.payments() if one["phone"] == msisdn and one["prompt_open"]), None),
            f"a prompt on {msisdn}",
            timeout_s,
        )

    def wait_for_callback(self, checkout_request_id: str, timeout_s: float = 60, *, count: int = 1) -> Shown:
        """The payment once `count` callbacks were sent and answered, or failed."""

        def called_back() -> Shown | None:
            payment = self.payment(checkout_request_id)
            return payment if len(payment["callbacks"]) >= count else None

        return self.wait_for(called_back, f"{count} callback(s) for {checkout_request_id}", timeout_s)

    def wait_for_mail(self, to: str, timeout_s: float = 60) -> Shown:
        """The newest mail to this address."""
        return self.wait_for(
            lambda: next((one for one in self.mail() if any(to in shown for shown in one["to"])), None),
            f"mail to {to}",
            timeout_s,
        )

    def wait_for(self, look: Callable[[], Found | None], what: str, timeout_s: float) -> Found:
        until = time.monotonic() + timeout_s
        while (found := look()) is None:
            if time.monotonic() > until:
                seen = [(one["phone"], one["state"], one["prompt_open"]) for one in self.payments()]
                raise TimeoutError(
                    f"waited for {what}, {timeout_s:g} s in vain; payments: {seen}, mails: {len(self.mail())}"
                )
            time.sleep(EVERY_S)
        return found

    # --- HTTP ---

    def _list(self, path: str) -> list[Shown]:
        content: list[Shown] = self._ask("GET", path, None)
        return content

    def _object(self, method: str, path: str, content: Shown | None = None) -> Shown:
        answer: Shown = self._ask(method, path, content)
        return answer

    def _ask(self, method: str, path: str, content: Shown | None) -> Any:
        request = urllib.request.Request(  # noqa: S310  always http: base_url is a simulator's
            self.base_url + path,
            data=None if content is None else json.dumps(content).encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                body = error.read()
            try:
                problem: object = json.loads(body)
            except ValueError:
                problem = body.decode(errors="replace")
            raise ControlError(error.code, problem) from None


def _period(shortcode: str, first: date, last: date) -> str:
    return urllib.parse.urlencode({"shortcode": shortcode, "first": first, "last": last})


def _plain_http() -> urllib.request.OpenerDirector:
    """Without proxies, and without HTTPS, whose handler takes 10 to 25 ms to read the system's certificates."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.HTTPHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    return opener
