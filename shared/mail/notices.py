"""The notices, in a few words each."""

from __future__ import annotations

from html import escape

from shared.daraja.models import EAT
from shared.daraja.result_codes import describe
from shared.mail.letters import Kind, Letter
from shared.mail.mailer import Email, one_line
from shared.money import in_words

SAYS = {
    Kind.FAILED: "The payment did not go through.",
    Kind.PAID_LATE: "The payment went through after all.",
    Kind.UNDER_REVIEW: "We are checking this payment. Please do not pay again: we have it on record.",
    Kind.REFUNDED: "This payment was refunded.",
}


def notice(letter: Letter) -> Email:
    """What happened, to which payment, and what to do now."""
    known = describe(letter.result_code) if letter.kind is Kind.FAILED and letter.result_code else None
    shop = one_line(letter.shop_name)
    lines = [
        SAYS[letter.kind],
        *([known.message, known.next_action] if known else []),
        f"{in_words(letter.amount_kes)}, order {one_line(letter.account_reference)}, "
        f"{letter.at.astimezone(EAT):%d %B %Y, %H:%M} EAT",
        *([f"Refund receipt {one_line(letter.refund_receipt)}"] if letter.refund_receipt else []),
        f"{shop}. Questions? Write to {one_line(letter.reply_to)}.",
    ]
    return Email(
        letter.customer_email,
        letter.customer_name,
        f"{shop}: {SAYS[letter.kind]}",
        "\n\n".join(lines) + "\n",
        "".join(f"<p>{escape(line)}</p>" for line in lines),
        from_name=shop,
    )
