"""A decision is written whole, about the payment as it was read, or not at all."""

from __future__ import annotations

from shared.collaborators import gateway
from shared.gateway.cases import Evidence
from shared.payments import TimePassed, decide
from tests.fixtures.shop import Shop


def test_a_decision_about_a_status_that_has_changed_since_is_not_written(shop: Shop) -> None:
    """The locks keep others away; should they ever fail to, the status itself is compared once more."""
    transaction_id = shop.pay().body["transaction_id"]
    shop.age(3600)
    before = shop.rows("SELECT id FROM audit_log")
    with gateway().cases.open(transaction_id, Evidence("sweep", "TimePassed")) as case:
        assert case is not None
        decision = decide(case.payment, TimePassed(), case.circumstances)
        assert decision.status != case.payment.status
        case._tx.run("UPDATE transactions SET status = 'FAILED', failed_at = now()")
        assert case.record(decision) is False
        case._tx.run("SET LOCAL session_replication_role = 'replica'")
        case._tx.run("UPDATE transactions SET status = 'PENDING', failed_at = NULL")
    assert shop.rows("SELECT id FROM audit_log") == before
    assert shop.sweep().status == 200
