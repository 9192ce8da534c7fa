"""Sends what is due: alerts first, then letters to customers and to the shop, and beside them events to its webhook.

Every function that made something due sends it at once, through the outbox's leases: two that send at the same moment
send one letter, and what was not sent is left to the next try. An attempt counts as a try also where it was cut off.

A fault of the message ends that message. A fault of the shop's account or of the mail server does not count as a try:
all mail waits and an alert is raised, whoever sends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from shared.deadline import Deadline
from shared.environment_variables import Misconfigured
from shared.gateway.outbox import (
    AlertDue,
    AlertMailDue,
    AnchorDue,
    Dropped,
    ErasuresDue,
    InvoiceDue,
    SaleDue,
    WebhookDue,
)
from shared.observability.alerts import TOPICS, UNKNOWN, deliver
from shared.observability.log import failed, note
from shared.settlement import ask_at_once, judge_waiting

if TYPE_CHECKING:
    from datetime import datetime

    from shared.collaborators import Collaborators
    from shared.gateway.outbox import Due, LetterDue, MailDue, NoticeDue
    from shared.mail.letters import Kind, Letter
    from shared.mail.mailer import Email
    from shared.webhooks import Post

A_LETTER_LASTS_S = 8.0
A_LETTER_NEEDS_S = 1.0
"""With less time than this left no letter is begun: it would only be cut off. And no post."""
A_POST_LASTS_S = 10.0
A_RECORD_TAKES_S = 0.5
POSTS_AT_ONCE = 8
A_LOOK_AT_POSTS_S = 0.05
MAIL_STOPS_FOR_S = 300.0
"""Until one message is tried again: soon after a repair, and too rarely for the server to lock us out."""


def follow_up(
    mine: Collaborators, transaction_id: str, ends: Deadline, actor: str, *, asks: bool = False, judges: bool = False
) -> None:
    """What one payment needs at once, once it is committed, for the functions that somebody waits for.

    Ask Daraja where `asks`, it is due and a slot is free; judge what waits, where `judges`; send what is due. At `ends`
    all is over. Never raises: what could not be done is on file, and the sweep does it.
    """
    try:
        asked = asks and ask_at_once(mine, transaction_id, ends, actor)
        if asked or judges:
            judge_waiting(mine.gateway, transaction_id, actor)
        delivery = Delivery(mine, ends, of=transaction_id)
        delivery.send()
        delivery.finish()
    except Exception as failure:  # whatever it was, the payment is settled as far as it was
        failed("following_up", failure, transaction_id=transaction_id)


def send_alerts(mine: Collaborators, ends: Deadline) -> None:
    """Alerts that are due, and no letters. Never raises: what could not be sent, the sweep sends."""
    try:
        Delivery(mine, ends).send(letters_until=Deadline.after(0))
    except Exception as failure:
        failed("alerting", failure)


class Delivery:
    """`of`: only what this payment made due, and alerts about the whole shop; None: everything. At `ends` all is over.

    `done` counts what was sent, dropped and failed.
    """

    def __init__(self, mine: Collaborators, ends: Deadline, *, of: str | None = None) -> None:
        self._mine = mine
        self._ends = ends
        self._outbox = mine.gateway.outbox
        self._of = of
        self._mail_answers = True
        self._posts: list[Post] = []
        self._no_webhooks = False
        self.done: dict[str, int] = {}

    def send(self, until: Deadline | None = None, *, letters_until: Deadline | None = None) -> None:
        """All that is due; nothing is begun after `until`, and no letter after `letters_until`.

        A mail server that did not answer, or takes nothing, is not tried again. Raises what the database raises.
        """
        until = until or self._ends
        letters_until = letters_until or until
        while not until.passed() and (due := self._next(until, letters_until)) is not None:
            if isinstance(due, Dropped):
                self._count("notices_dropped", due.how_many)
            elif isinstance(due, AlertDue):
                self._attempt("alerts", partial(deliver, self._mine.gateway, due))
            elif isinstance(due, WebhookDue):
                self._begin_post(due)
            elif isinstance(due, AnchorDue):
                self._attempt("anchors", partial(self._send_anchor, due))
            elif isinstance(due, ErasuresDue):
                self._attempt("erasures", partial(self._send_erasures, due))
            elif isinstance(due, SaleDue):
                self._attempt("sales", partial(self._mail, partial(_mail_sale, self._mine, due)))
            elif isinstance(due, AlertMailDue):
                self._attempt("alert_mails", partial(self._mail, partial(_mail_alerts, self._mine, due)))
            else:
                name = "invoices" if isinstance(due, InvoiceDue) else "notices"
                self._attempt(name, partial(self._mail, partial(_send_letter, self._mine, due)))

    def finish(self) -> None:
        """The posts that are under way, and more where some are due. None lasts beyond the end."""
        while True:
            self.send(letters_until=Deadline.after(0))
            if not self._posts:
                return
            self._posts[0].wait(Deadline.after(A_LOOK_AT_POSTS_S))

    def _next(self, until: Deadline, letters_until: Deadline) -> Due | Dropped | None:
        self._end_posts()
        mail_too = self._mail_answers and letters_until.remaining_s() >= A_LETTER_NEEDS_S
        room = len(self._posts) < POSTS_AT_ONCE and until.remaining_s() >= A_LETTER_NEEDS_S
        return self._outbox.take(
            mail_too=mail_too,
            webhooks_too=room and not self._no_webhooks,
            notices=self._mine.settings.notices,
            of=self._of,
        )

    # The webhook: posted on threads, recorded here

    def _begin_post(self, due: WebhookDue) -> None:
        try:
            webhook = self._mine.settings.webhook
        except Misconfigured as wrong:
            failed("webhooks", wrong)
            self._no_webhooks = True
            self._outbox.put_back(due, str(wrong))
            self._mine.gateway.watch.webhook_is_misconfigured(", ".join(each.name for each in wrong.problems))
            return
        if webhook.url is None:
            self._count("webhooks_dropped", self._outbox.drop_webhooks())
            return
        from shared.webhooks import Post  # requests: only a shop with a webhook pays for it

        deadline = self._ends.sooner(A_RECORD_TAKES_S).at_most(A_POST_LASTS_S)
        try:
            self._posts.append(Post(webhook, due, self._mine.clock(), deadline))
        except Exception as failure:
            self._post_failed(due, f"it could not be posted ({type(failure).__name__})")

    def _end_posts(self) -> None:
        over = [post for post in self._posts if post.is_over]
        self._posts = [post for post in self._posts if post not in over]
        for post in over:
            problem = post.outcome()
            if problem is None:
                self._attempt("webhooks", partial(self._outbox.sent, post.due))
            else:
                self._post_failed(post.due, problem.why, give_up=problem.gone)

    def _post_failed(self, due: WebhookDue, why: str, *, give_up: bool = False) -> None:
        """The shop's server is at fault, or the way to it: tried again, or given up."""
        note("webhook not delivered", transaction_id=due.sold.transaction_id, says=why)
        self._count("webhooks_failed")
        self._outbox.failed(due, why, give_up=give_up)

    # Mail

    def _send_anchor(self, due: AnchorDue) -> None:
        if due.way == "log":
            note("anchor", anchor=due.token)
            self._outbox.sent(due)
        else:
            self._mail(partial(_mail_anchor, self._mine, due))

    def _send_erasures(self, due: ErasuresDue) -> None:
        if due.way == "log":
            for line in due.lines:
                note("erasure", erasure=line)
            self._outbox.sent(due)
        else:
            self._mail(partial(_mail_erasures, self._mine, due))

    def _mail(self, send: Callable[[Deadline], None]) -> None:
        try:
            send(self._ends.at_most(A_LETTER_LASTS_S))
        except NoMailNow:
            self._mail_answers = False
            raise

    def _attempt(self, what: str, work: Callable[[], object]) -> None:
        """A failure is logged and recorded with the message: the others are sent."""
        try:
            work()
            self._count(what)
        except Exception as failure:
            failed(what, failure)
            self._count(f"{what}_failed")

    def _count(self, what: str, how_many: int = 1) -> None:
        self.done[what] = self.done.get(what, 0) + how_many


# Letters and other mail -----------------------------------------------------------------------------------------------


class NoMailNow(Exception):
    """No mail is accepted at the moment: try no other message for a while."""


def _send_letter(mine: Collaborators, due: InvoiceDue | NoticeDue, deadline: Deadline) -> None:
    """Raises `NoMailNow`, or `MailRefused` where only this message failed. Both are recorded."""
    from shared.mail.letters import Kind, write

    _require_settings(mine, due)
    if isinstance(due, InvoiceDue):
        message_id = f"{due.invoice_number}.{due.id}"
        letter = replace(
            _letter(mine, due, Kind.INVOICE, due.paid_at),
            invoice_number=due.invoice_number,
            invoice_date=due.invoice_date,
        )
    else:
        message_id = f"notice.{due.id}"
        letter = replace(
            _letter(mine, due, Kind(due.topic), due.at),
            refund_receipt=due.refund_receipt,
            refunded_kes=due.amount_kes if due.paid_at else None,
            result_code=due.result_code,
        )
    _send(mine, due, write(letter, mine.gateway.watch.letter_template_breaks), message_id, deadline)


def _letter(mine: Collaborators, due: LetterDue, kind: Kind, at: datetime) -> Letter:
    from shared.mail.letters import Letter

    shop, mail = mine.settings.letters.shop, mine.settings.letters.mail
    return Letter(
        kind=kind,
        lang=due.lang,
        transaction_id=due.transaction_id,
        customer_name=due.customer_name,
        customer_email=due.customer_email,
        customer_phone=due.customer_phone,
        amount_kes=due.amount_kes,
        account_reference=due.account_reference,
        description=None if due.items else due.transaction_desc,  # beside the shop's words none of the customer's
        items=due.items,
        at=at,
        receipt=due.receipt,
        shop_name=shop.name,
        shop_address=shop.address,
        shop_tax_pin=shop.tax_pin,
        reply_to=mail.reply_to,
    )


def _mail_anchor(mine: Collaborators, due: AnchorDue, deadline: Deadline) -> None:
    """To the shop itself. Raises as `send_letter`."""
    from shared.mail.anchor_mail import render

    _require_settings(mine, due)
    email = render(due.token, due.made_at, mine.settings.letters.mail.reply_to)
    _send(mine, due, email, f"anchor.{due.id}", deadline)


def _mail_erasures(mine: Collaborators, due: ErasuresDue, deadline: Deadline) -> None:
    """To the shop itself. Raises as `_send_letter`."""
    from shared.mail.anchor_mail import erasures

    _require_settings(mine, due)
    _send(mine, due, erasures(due.lines, mine.settings.letters.orders_to), f"erasures.{due.id}", deadline)


def _mail_sale(mine: Collaborators, due: SaleDue, deadline: Deadline) -> None:
    """To the shop itself. Raises as `_send_letter`."""
    from shared.mail.shop_mail import sale

    _require_settings(mine, due)
    to, shop_name = mine.settings.letters.orders_to, mine.settings.letters.shop.name
    _send(mine, due, sale(due.topic, due.at, due.sold, due.refund_receipt, to, shop_name), f"sale.{due.id}", deadline)


def _mail_alerts(mine: Collaborators, due: AlertMailDue, deadline: Deadline) -> None:
    """To the shop itself. Raises as `_send_letter`."""
    from shared.mail.shop_mail import alerts

    _require_settings(mine, due)
    to, shop_name, topic = (
        mine.settings.letters.orders_to,
        mine.settings.letters.shop.name,
        TOPICS.get(due.topic, UNKNOWN),
    )
    email = alerts(topic.says, topic.do_now, due.topic, due.alerts, due.in_all, to, shop_name)
    _send(mine, due, email, f"alerts.{due.id}", deadline)


def _send(mine: Collaborators, due: MailDue, email: Email, message_id: str, deadline: Deadline) -> None:
    from shared.mail.mailer import MailRefused, MailStopped, MailUnanswered

    try:
        mine.mailer.send(email, deadline, message_id=message_id)
    except MailRefused as refusal:
        mine.gateway.outbox.failed(due, str(refusal), give_up=True)
        raise
    except MailStopped as stopped:
        _stop(mine, due, stopped)
        raise NoMailNow from stopped
    except MailUnanswered as silence:
        mine.gateway.outbox.failed(due, str(silence))
        if silence.retry_after_s is not None:
            mine.gateway.outbox.hold_mail(silence.retry_after_s)
        raise NoMailNow from silence
    mine.gateway.outbox.sent(due)


def _require_settings(mine: Collaborators, due: MailDue) -> None:
    """Settings of mail that cannot be used stop mail, as a refused key does, and nothing else."""
    try:
        _ = mine.settings.letters
    except Misconfigured as wrong:
        failed("mail", wrong)
        _stop(mine, due, wrong)
        raise NoMailNow from wrong


def _stop(mine: Collaborators, due: MailDue, reason: Exception) -> None:
    """All mail waits until a person has corrected something."""
    mine.gateway.outbox.put_back(due, str(reason))
    mine.gateway.outbox.hold_mail(MAIL_STOPS_FOR_S)
    mine.gateway.watch.mail_stops()
