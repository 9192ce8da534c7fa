"""Which keys may sign a callback address: the published deploy's, as its sweep has said, and those nobody has named."""

from __future__ import annotations

import pytest

from shared.collaborators import receiver
from tests.fixtures.shop import Shop, forget_collaborators
from tests.integration.test_callback import Pending

FIRST, SECOND = (f"a-secret-of-the-shop-number-{number}-with-44-characters" for number in (1, 2))


def deployed(monkeypatch: pytest.MonkeyPatch, secret: str, previous: str = "") -> None:
    """From now on the functions are those of a deploy with these secrets."""
    monkeypatch.setenv("CALLBACK_SECRET", secret)
    monkeypatch.setenv("CALLBACK_SECRET_PREVIOUS", previous)
    forget_collaborators()


def test_an_old_deploy_with_a_retired_key_pays_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    deployed(monkeypatch, FIRST)
    shop.sweep()
    deployed(monkeypatch, SECOND)
    payment = Pending(shop)
    shop.sweep()
    deployed(monkeypatch, FIRST)  # the permalink of the old deploy, on the same database
    reply = payment.told()
    assert (reply.status, reply.body["code"], payment.status) == (404, "not_found", "PENDING")
    assert (payment.inbox(), shop.alerts(payment.id)) == ([], {"callback_key_retired"})
    assert any("key_retired" in line for line in shop.logged)
    deployed(monkeypatch, SECOND)
    assert (payment.told().status, payment.status) == (200, "PAID")


def test_the_previous_key_of_the_published_deploy_still_pays(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    deployed(monkeypatch, FIRST)
    shop.sweep()
    payment = Pending(shop)
    path = shop.callback_path(payment.id)
    deployed(monkeypatch, SECOND, previous=FIRST)
    shop.sweep()
    assert shop.callback_path(payment.id) != path
    assert (payment.told(path=path).status, payment.status) == (200, "PAID")


def test_a_new_deploy_takes_callbacks_before_its_first_sweep(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    deployed(monkeypatch, FIRST)
    shop.sweep()
    deployed(monkeypatch, SECOND)
    payment = Pending(shop)
    assert (payment.told().status, payment.status) == (200, "PAID")


def test_a_deploy_that_is_published_again_is_good_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for secret in (FIRST, SECOND, FIRST):
        deployed(monkeypatch, secret)
        shop.sweep()
    payment = Pending(shop)
    assert (payment.told().status, payment.status) == (200, "PAID")
    keys = shop.rows("SELECT name, retired_at IS NULL AS good FROM callback_keys ORDER BY since")
    assert [row["good"] for row in keys] == [True, False]
    assert all(FIRST not in row["name"] for row in keys)


def test_a_callback_costs_no_round_trip_more(shop: Shop) -> None:
    payment = Pending(shop)
    payment.told(code=1032)
    before = receiver().gateway.database.round_trips
    assert payment.told(code=1032).status == 200
    assert receiver().gateway.database.round_trips - before <= 5
