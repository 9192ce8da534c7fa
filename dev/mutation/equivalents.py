"""Mutants that change nothing that could ever be seen, each with its reason. By `Mutant.name`."""

from __future__ import annotations

EQUIVALENT: dict[str, str] = {
    "shared/payments.py decide: return _learning(payment, ids, _declined(payment, becomes, by_query=False))"
    " ⇒ return _learning(payment, ids, _declined(payment, becomes, by_query=None))": (
        "`by_query` is only ever asked whether it is true"
    ),
}
