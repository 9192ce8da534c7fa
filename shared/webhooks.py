"""Posts events to the shop's own webhook, beside everything else: nothing waits for the shop's server.

A post begins on a thread of its own; what became of it is recorded when it is over, by whoever sends. In production it
goes only to public addresses: the name is looked up once, and the connection goes to the address that was checked.
"""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import requests

from shared.call_out import Answer, Call
from shared.daraja.answers import Unanswered, Unavailable
from shared.shop_events import event_body, signed_headers

if TYPE_CHECKING:
    from datetime import datetime

    from shared.deadline import Deadline
    from shared.gateway.outbox import WebhookDue
    from shared.settings import WebhookSettings

GONE = 410
NOT_OURS_TO_CALL = (
    ipaddress.ip_network("64:ff9b::/32"),
    ipaddress.ip_network("2002::/16"),
    ipaddress.ip_network("2001::/32"),
    ipaddress.ip_network("2001:20::/28"),
    ipaddress.ip_network("3fff::/20"),
    ipaddress.ip_network("fec0::/10"),
    ipaddress.ip_network("168.63.129.16/32"),
)
"""IPv6 addresses that hold an IPv4 address, which may be a private one; and what not every Python knows as not public:
two of documentation and identity (RFC 7343, 9637), the old site-local ones, Azure's own host."""
ISATAP = (0x0000_5EFE, 0x0200_5EFE)
"""In the last 64 bits of an IPv6 address: an IPv4 address follows (RFC 5214)."""


class NotPublic(OSError):
    """The webhook's name leads to an address that is not public."""

    def __init__(self, host: str) -> None:
        super().__init__(0, f"{host} is not a public address")


@dataclass(frozen=True)
class NotDelivered:
    """Why a try failed. `gone`: the shop's server wants no more of it."""

    why: str
    gone: bool = False


class Post:
    """One try to deliver an event. It begins at once."""

    def __init__(self, webhook: WebhookSettings, due: WebhookDue, at: datetime, deadline: Deadline) -> None:
        self.due = due
        body = event_body(f"payment.{due.topic}", due.at, due.sold)
        headers = {
            **signed_headers(webhook.secrets, due.event_id, at, body),
            "Content-Type": "application/json",
            "User-Agent": "Lipa",
        }
        request = requests.Request("POST", webhook.url, headers=headers, data=body)
        self._deadline = deadline
        self._call = Call(
            request, deadline, read=_status, address_of=public_address if webhook.only_public else None
        ).start()

    @property
    def is_over(self) -> bool:
        """It has an answer, or no time is left for one."""
        return self._call.over.is_set() or self._deadline.passed()

    def wait(self, deadline: Deadline) -> None:
        self._call.over.wait(deadline.remaining_s())

    def outcome(self) -> NotDelivered | None:
        """None: delivered. What is not over by its deadline is cut off."""
        try:
            status = self._call.outcome().status
        except (Unavailable, Unanswered) as failure:
            return NotDelivered("no answer in time" if self._deadline.passed() else str(failure))
        if 200 <= status < 300:
            return None
        return NotDelivered(f"the server answered HTTP {status}", gone=status == GONE)


def _status(response: requests.Response) -> Answer:
    """The status is the whole answer. Nobody reads the body, however long it is."""
    return Answer(response.status_code, b"")


def public_address(host: str, port: int) -> str:
    """The address to connect to. Raises `NotPublic` where the name leads to any other kind of address."""
    found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if not found or not all(map(is_public, found)):
        raise NotPublic(host)
    return next((address for address in found if ":" not in address), found[0])


def is_public(address: str) -> bool:
    with suppress(ValueError):
        ip = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(ip, ipaddress.IPv6Address):
            if ip.ipv4_mapped is not None:
                return is_public(str(ip.ipv4_mapped))
            if int(ip) >> 32 & 0xFFFF_FFFF in ISATAP:
                return False
        if any(ip in network for network in NOT_OURS_TO_CALL if network.version == ip.version):
            return False
        return ip.is_global and not ip.is_multicast and not ip.is_reserved
    return False
