"""Every payment's invoice arrives, or is FAILED with an alert after three tries, whatever the mail server does.

A storm that fails prints its seed, and replays alone: `STORM=7 pytest tests/chaos/test_mail_storms.py`; `STORM=10:20`
is that range of them.
"""

from __future__ import annotations

import functools
import os
import ssl
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.mail import smtp
from simulator import Behaviour, Simulator, SimulatorSettings
from tests.chaos.books import only_the_shop_listens
from tests.chaos.crashes import Instances
from tests.chaos.mail_storm import PAYMENTS, MailStorm
from tests.chaos.virtual_time import VirtualTime
from tests.fixtures.certificates import self_signed
from tests.fixtures.shop import Shop
from tests.fixtures.soak import Figure, Rounds

PASSWORD = "of-the-mail-server"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return self_signed(tmp_path)


@pytest.fixture
def simulator(certificate: Path) -> Iterator[Simulator]:
    """Its time stands still until the storm moves it; its mail server wants TLS and a login."""
    behaviour = Behaviour(push_latency_s=0, callback_timeout_s=600)
    settings = SimulatorSettings(
        seed=0, time_stands_still=True, behaviour=behaviour, smtp_certificate=certificate, smtp_password=PASSWORD
    )
    with Simulator(settings) as running:
        yield running


@pytest.fixture
def instances() -> Iterator[Instances]:
    running = Instances()
    yield running
    running.close()


@pytest.fixture
def ways(simulator: Simulator, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """SMTP_URL for each way to the one mailbox, whose certificate is believed in this process and in others."""
    believing = functools.cache(lambda: ssl.create_default_context(cafile=str(certificate)))
    monkeypatch.setattr(smtp, "tls_context", believing)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    login = f"shop:{PASSWORD}@127.0.0.1"
    return {
        "sendgrid": None,
        "starttls": f"smtp://{login}:{simulator.smtp_port}",
        "smtps": f"smtps://{login}:{simulator.smtps_port}",
    }


@pytest.mark.usefixtures("left_to_the_sweep")  # the fate of a letter is drawn once its payment is settled
def test_every_invoice_arrives_or_is_given_up_with_an_alert_after_three_tries(
    shop: Shop,
    time: VirtualTime,
    instances: Instances,
    ways: dict[str, str | None],
    rounds: Rounds,
    figure: Figure,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only_the_shop_listens(monkeypatch)
    first, _, end = os.environ.get("STORM", "").partition(":")
    seeds = range(int(first), int(end or int(first) + 1)) if first else range(rounds(1, 10))
    storms: list[Counter[str]] = []
    for seed in seeds:
        try:
            storms.append(MailStorm(seed, shop, time, instances, ways, monkeypatch).run())
        except BaseException:
            print(f"the storm that failed: STORM={seed} pytest tests/chaos/test_mail_storms.py", *shop.logged[-8:])
            raise
    came = sum(storms, Counter())
    figure(
        f"{len(storms)} storms, {len(storms) * PAYMENTS:,} payments, {came['letters']:,} letters: 0 invoices neither"
        f" arrived nor FAILED with an alert; {came['answers lost']} answers lost, {came['killed']} processes killed,"
        f" {came['came twice']} letters came twice"
    )
