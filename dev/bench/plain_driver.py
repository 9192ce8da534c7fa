"""The yardstick of a settlement: the same SQL, recorded from the gateway and sent by pg8000 alone."""

from __future__ import annotations

import json
import re
import uuid
from itertools import count
from typing import Any

from shared.database import Transaction, numbered

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
