"""`make bench`: what the functions cost, as ratios of things measured side by side in the same run.

Everything is the real thing on this machine: the zips of `netlify build` unpacked, PostgreSQL over TCP, the simulator
as Daraja. Rounds go through all measured things in turn, so that whatever else the machine does falls on all alike.
`--write` puts the table into docs/performance.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

from db.migrate import migrate, read_migrations
from dev.bench_platform import UnpackedFunctions, unpacked_functions
from dev.build import netlify_build
from dev.deployed_function import http_event
from dev.postgres import EmbeddedPostgres
from shared.daraja.callback_address import callback_url
from shared.database import Database, Transaction, numbered
from shared.settings import Receiving
from simulator import Behaviour, Simulator, SimulatorSettings

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
FUNCTIONS = ("callback", "status", "stkpush", "invoice", "sweep")
IMPORT_ALONE = "import time; began = time.perf_counter(); import mpesakit; print((time.perf_counter() - began) * 1000)"
JSON = {"content-type": "application/json"}
ROUNDS = 15
SETTLEMENTS = 200


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    what: str
    measured: str
    target: str


class Shop:
    """A database and a Daraja to measure with, and events that do real work there."""

    def __init__(self, database_url: str, simulator: Simulator) -> None:
        self.environment = {
            **simulator.environment(),
            "DATABASE_URL": database_url,
            "MPESA_CALLBACK_URL": "http://127.0.0.1:9/api/pay/callback",
            "INVOICE_EMAIL_FROM": "invoices@shop.example",
            "INVOICE_EMAIL_REPLY_TO": "support@shop.example",
        }
        self._database = Database(database_url)
        self._callback = Receiving.from_environment(self.environment).callback
        self._number = 0

    def event(self, function: str) -> dict[str, Any]:
        """One that the function has never seen, of its usual work."""
        self._number += 1
        if function == "stkpush":
            phone = f"2547000{self._number:05}"
            order = {"phone_number": phone, "amount": 10, "account_reference": f"BENCH{self._number}"}
            return http_event("POST", "/api/pay/stkpush", json.dumps(order), JSON)
        if function == "sweep":
            return http_event("POST", "/.netlify/functions/sweep", "{}", JSON)
        payment = self.payment()
        if function == "callback":
            return self.callback(payment)
        if function == "status":
            return http_event("GET", f"/api/pay/status/{payment['id']}")
        self._pay(payment)
        return http_event("POST", "/api/pay/invoice", json.dumps({"transaction_id": str(payment["id"])}), JSON)

    def payment(self) -> dict[str, Any]:
        """A pending payment of KES 10 with an address, as a push leaves it."""
        self._number += 1
        ids = {"checkout": f"ws_CO_bench{self._number}{os.getpid()}", "merchant": f"bench-{self._number}-{os.getpid()}"}
        with self._database.transaction() as tx:
            (row,) = tx.rows(
                """
                WITH made AS (
                    INSERT INTO transactions (phone_number, amount, account_reference, customer_email, status,
                                              pushed_at, checkout_request_id, merchant_request_id)
                    VALUES (:phone, 10, :reference, 'bench@example.com', 'PENDING',
                            now(), :checkout, :merchant)
                    RETURNING *),
                audited AS (
                    INSERT INTO audit_log (transaction_id, actor, event, outcome, to_status)
                    SELECT id, 'bench', 'Order', 'admitted', 'PENDING' FROM made)
                SELECT * FROM made
                """,
                phone=f"2547000{self._number:05}",
                reference=f"BENCH{self._number}",
                **ids,
            )
        return row

    def callback(self, payment: dict[str, Any]) -> dict[str, Any]:
        """Safaricom's news that it is paid."""
        self._number += 1
        items = [
            {"Name": "Amount", "Value": 10},
            {"Name": "MpesaReceiptNumber", "Value": f"UKB{self._number:07}"},
            {"Name": "TransactionDate", "Value": 20260504120000},
            {"Name": "PhoneNumber", "Value": int(payment["phone_number"])},
        ]
        told = {
            "MerchantRequestID": payment["merchant_request_id"],
            "CheckoutRequestID": payment["checkout_request_id"],
            "ResultCode": 0,
            "ResultDesc": "The service request is processed successfully.",
            "CallbackMetadata": {"Item": items},
        }
        path = "/" + callback_url(self._callback, str(payment["id"])).split("/", 3)[3]
        return http_event("POST", path, json.dumps({"Body": {"stkCallback": told}}), JSON)

    def _pay(self, payment: dict[str, Any]) -> None:
        from netlify.functions import callback

        with quiet():
            callback.handler(self.callback(payment), None)

    def close(self) -> None:
        self._database.close()


def main(arguments: list[str]) -> int:
    if netlify_build() != 0:
        return 1
    print()
    with shop() as here, unpacked_functions() as built:
        os.environ.update(here.environment)  # for the handlers that run in this process
        lines = [*cold_starts(here, built), *bridge(built), *edge(here)]
        lines += [*round_trips(here), *settlement(here), *sizes(built)]
    table = ["| what | measured | target |", "| --- | --- | --- |"]
    table += [f"| {line.what} | {line.measured} | {line.target} |" for line in lines]
    print("\n".join(table))
    if "--write" in arguments:
        keep("\n".join(table))
    return 0


@contextlib.contextmanager
def shop() -> Iterator[Shop]:
    with tempfile.TemporaryDirectory(prefix="lipa-bench-") as folder:
        os.chmod(folder, 0o755)  # noqa: S103  the server may run as another user
        with (
            EmbeddedPostgres(Path(folder) / "postgres", port=0) as postgres,
            Simulator(SimulatorSettings(behaviour=Behaviour(push_latency_s=0))) as simulator,
        ):
            database = Database(postgres.url())
            migrate(database, read_migrations(), "sandbox")
            database.close()
            here = Shop(postgres.url(tcp=True), simulator)
            try:
                yield here
            finally:
                here.close()


# The measurements -----------------------------------------------------------------------------------------------------


def cold_starts(here: Shop, built: UnpackedFunctions) -> Iterator[Line]:
    """A cold instance to its first answer, beside `import mpesakit` (the leading Python SDK) in this Python."""
    imports: list[float] = []
    taken: dict[str, list[float]] = {name: [] for name in FUNCTIONS}
    for number in range(ROUNDS + 1):
        run = subprocess.run([sys.executable, "-c", IMPORT_ALONE], check=True, capture_output=True, text=True)
        answers = {
            name: built.cold_start_ms(name, here.event(name), here.environment, runs=1).p50 for name in FUNCTIONS
        }
        if number:  # the first round reads the files from the disk
            imports.append(float(run.stdout))
            for name, cold in answers.items():
                taken[name].append(cold)
    sdk = statistics.median(imports)
    yield Line("`import mpesakit`, the import alone", f"{sdk:.0f} ms", "the yardstick")
    targets = {"callback": "at most 1.0", "stkpush": "at most 1.5"}
    for name, values in taken.items():
        cold = statistics.median(values)
        yield Line(
            f"`{name}`: cold start to first answer, PostgreSQL included",
            f"{cold:.0f} ms = **{cold / sdk:.2f}** of that import",
            targets.get(name, ""),
        )


def bridge(built: UnpackedFunctions) -> Iterator[Line]:
    """What Node and the Runtime API add to a call of the handler in Python."""
    warm = built.warm_calls("status", http_event("GET", "/api/pay/nothing"))
    yield Line(
        "bridge, warm: added to calling the handler directly",
        f"p50 **{warm.overhead_p50:.2f} ms**, p99 {warm.overhead_p99:.2f} ms",
        "p50 at most 1 ms",
    )


def edge(here: Shop) -> Iterator[Line]:
    """What the edge adds to a story: reading the event, checks, headers, JSON and the canonical log line."""
    from netlify.functions import callback, status
    from shared.edge import Request

    def through(name: str, handler: Callable[[dict[str, Any], None], dict[str, Any]]) -> float:
        event = here.event(name)
        began = perf_counter()
        answer = handler(event, None)
        taken_ms = (perf_counter() - began) * 1000
        if answer["statusCode"] != 200:
            raise RuntimeError(f"{name} did not answer as it should: {answer}")
        return taken_ms

    def alone(name: str, story: Callable[[Request], object]) -> float:
        event = here.event(name)
        body = str(event["body"] or "").encode()
        request = Request(event["httpMethod"], event["path"], event["headers"], body)
        began = perf_counter()
        story(request)
        return (perf_counter() - began) * 1000

    for name, handler, story in (
        ("status", status.handler, status.tell),
        ("callback", callback.handler, callback.receive),
    ):
        with_edge, without = [], []
        with quiet():
            through(name, handler)  # opens the connection
            for _ in range(SETTLEMENTS // 2):  # in both orders: the second of two finds things warm
                with_edge.append(through(name, handler))
                without += [alone(name, story), alone(name, story)]
                with_edge.append(through(name, handler))
        ours, bare = statistics.median(with_edge), statistics.median(without)
        yield Line(
            f"`{name}` through the edge, warm, beside its story alone",
            f"{ours:.2f} ms = **{ours / bare:.2f}** of {bare:.2f} ms",
            "",
        )


def round_trips(here: Shop) -> Iterator[Line]:
    """Exchanges with PostgreSQL of one usual request, in a warm instance."""
    from netlify.functions import callback, invoice, status, stkpush, sweep
    from shared.collaborators import gateway, receiving_gateway

    handlers = {"callback": callback, "status": status, "stkpush": stkpush, "invoice": invoice, "sweep": sweep}
    counted = []
    for name in FUNCTIONS:
        own = receiving_gateway if name == "callback" else gateway
        trips = 0
        for _ in range(2):  # the first one opens the connection and fetches the token
            before, event = own().database.round_trips, here.event(name)
            with quiet():
                handlers[name].handler(event, None)
            trips = own().database.round_trips - before
        counted.append(f"{name} {trips}")
    yield Line("database round trips a request", ", ".join(counted), "callback at most 20")


def settlement(here: Shop) -> Iterator[Line]:
    """A callback with its settlement, beside the same statements sent by pg8000 alone."""
    from netlify.functions import callback

    ours, alone = [], []
    direct = PlainDriver(here.environment["DATABASE_URL"])
    sent = Recording()
    model = here.payment()
    model_event = here.callback(model)
    with sent, quiet():
        callback.handler(model_event, None)
    for _ in range(SETTLEMENTS):
        event = here.event("callback")
        with quiet():
            began = perf_counter()
            answer = callback.handler(event, None)
            ours.append((perf_counter() - began) * 1000)
        if answer["statusCode"] != 200:
            raise RuntimeError(f"the callback was not taken: {answer}")
        payment = here.payment()
        script = sent.about(model, model_event, payment, here.callback(payment))
        began = perf_counter()
        direct.run(script)
        alone.append((perf_counter() - began) * 1000)
    direct.close()
    mine, plain = statistics.median(ours), statistics.median(alone)
    yield Line(
        "`callback` with settlement, warm, beside its SQL sent by pg8000 alone",
        f"{mine:.2f} ms = **{mine / plain:.2f}** of its {plain:.2f} ms",
        "at most 1.5",
    )


def sizes(built: UnpackedFunctions) -> Iterator[Line]:
    largest = max(built.sizes, key=lambda function: function.zip_mb)
    yield Line(
        f"largest zip of {len(built.sizes)}",
        f"{largest.zip_mb:.1f} MB, {largest.unpacked_mb:.1f} MB unpacked",
        "at most 35 MB, 110 MB",
    )


# The plain driver -----------------------------------------------------------------------------------------------------

Statements = list[list[tuple[str, dict[str, object]]]]
"""Transactions, each a list of statements with their parameters."""


class Recording:
    """What the gateway sends while this is open."""

    def __init__(self) -> None:
        self._transactions: Statements = []
        self._last: object = None
        self._numbers = count(1)

    def __enter__(self) -> None:
        self._execute = Transaction._execute
        execute, transactions = self._execute, self._transactions

        def recorded(tx: Transaction, sql: str, params: dict[str, object]) -> object:
            if tx is not self._last:
                transactions.append([])
                self._last = tx
            transactions[-1].append((sql, dict(params)))
            return execute(tx, sql, params)

        Transaction._execute = recorded  # type: ignore[method-assign, assignment]

    def __exit__(self, *_: object) -> None:
        Transaction._execute = self._execute  # type: ignore[method-assign]

    def about(
        self, model: dict[str, Any], model_event: dict[str, Any], payment: dict[str, Any], event: dict[str, Any]
    ) -> Statements:
        """The same statements about another payment."""
        exchange = {
            str(model[name]): str(payment[name]) for name in ("id", "checkout_request_id", "merchant_request_id")
        }
        exchange[model["phone_number"]] = payment["phone_number"]
        exchange[receipt_in(model_event)] = receipt_in(event)
        entry = str(uuid.uuid4())

        def other(name: str, value: object) -> object:
            if name == "body":
                return str(event["body"]).encode()
            if name == "audit_id":
                return -next(self._numbers)  # ours count upwards
            if name in ("inbox_id", "audit_inbox_id") or (name == "id" and str(value) not in exchange):
                return value and entry
            return exchange.get(value, value) if isinstance(value, str) else value

        return [
            [(sql, {name: other(name, value) for name, value in params.items()}) for sql, params in statements]
            for statements in self._transactions
        ]


class PlainDriver:
    """pg8000 as anybody would use it: one connection, autocommit off."""

    def __init__(self, url: str) -> None:
        import pg8000.dbapi

        from shared.database.url import connection_settings

        pg8000.dbapi.paramstyle = "numeric"
        where = connection_settings(url)
        self._connection = pg8000.dbapi.connect(
            where.user, host=where.host, port=where.port, database=where.database, password=where.password
        )

    def run(self, transactions: Statements) -> None:
        cursor = self._connection.cursor()
        for statements in transactions:
            for sql, params in statements:
                text, names = numbered(sql)
                cursor.execute(re.sub(r"\$(\d+)", r":\1", text), [params[name] for name in names])
            self._connection.commit()

    def close(self) -> None:
        self._connection.close()


def receipt_in(event: dict[str, Any]) -> str:
    told = json.loads(event["body"])["Body"]["stkCallback"]
    return str(told["CallbackMetadata"]["Item"][1]["Value"])


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The functions' log lines are written, and thrown away."""
    from aws_lambda_powertools import Logger  # its handler keeps the stream it was made with

    with open(os.devnull, "w") as nowhere:
        for handler in Logger(service="lipa").handlers:
            handler.stream = nowhere  # type: ignore[attr-defined]
        yield


def keep(table: str) -> None:
    """Replace the table in the page, and say where it was measured."""
    where = f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    page = re.sub(
        r"(?s)(<!-- make bench -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}Measured with {where}.\n\n{table}\n{found[2]}",
        PAGE.read_text("utf-8"),
    )
    PAGE.write_text(page, "utf-8")
    print(f"written to {PAGE.name}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
