"""docs/states.md, printed from shared/payments.py: the diagram, and what each status means."""

from __future__ import annotations

from shared.payments import PUBLIC, TRANSITIONS, ReviewReason, Status

MEANINGS = {
    Status.INITIATED: "The row is committed; the push has not been answered yet.",
    Status.PENDING: "Daraja accepted the push. The customer is being asked.",
    Status.UNCERTAIN: "No clear answer came: the push may have arrived. It is never sent again.",
    Status.PAID: "The money is here, with evidence, a confirmation and (if there is an e-mail address) an invoice.",
    Status.FAILED: "Daraja refused the push, or a known result code said that nobody paid.",
    Status.CANCELLED: "The customer cancelled the prompt (1032, 1031).",
    Status.EXPIRED: "Daraja said that the prompt expired (1019). Time alone never sets it.",
    Status.REVIEW: "The evidence does not fit, or there is none: a person must look. The reason is stored beside it.",
    Status.REFUNDED: "The whole amount went back, as an operator recorded.",
}
REASONS = {
    ReviewReason.SILENCE: "no terminal answer after 60 minutes, or none at all 15 minutes after an unclear push",
    ReviewReason.UNKNOWN_CODE: "a callback with an unknown result code",
    ReviewReason.AMOUNT_MISMATCH: "a success of another amount than the one asked for",
    ReviewReason.INCOMPLETE_SUCCESS: "a success without amount or receipt, and no id of our own to ask about",
    ReviewReason.IDS_DISAGREE: "a callback whose ids are not the payment's",
    ReviewReason.REUSED_RECEIPT: "a success with a receipt that confirms another payment",
    ReviewReason.DUPLICATE_PAYMENT: "the same reference, phone and amount was paid by another payment within 24 hours",
    ReviewReason.UNCONFIRMED_LARGE: "a large success (CONFIRM_ABOVE_KES) without an id of our own to ask about",
    ReviewReason.CONTRADICTION: "a callback said paid, a query said failed",
}


def states_page() -> str:
    """The whole page, as Markdown."""
    return "\n".join([*_top(), *_diagram(), *_meanings(), *_reasons()]) + "\n"


def _top() -> list[str]:
    return [
        "# States of a payment",
        "",
        "Printed from `shared/payments.py` by `python -m dev.print_docs`; a test keeps it so. Nothing else changes a",
        "status, and the database refuses every transition that is not drawn here.",
        "",
    ]


def _diagram() -> list[str]:
    order = list(Status)
    arrows = sorted(TRANSITIONS, key=lambda arrow: (order.index(arrow[0]), order.index(arrow[1])))
    return [
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> INITIATED",
        *(f"    {was} --> {now}" for was, now in arrows),
        "```",
        "",
    ]


def _meanings() -> list[str]:
    return [*(f"- **{status}** (`{PUBLIC[status]}`): {MEANINGS[status]}" for status in Status), ""]


def _reasons() -> list[str]:
    lines = [f"- `{reason}`: {REASONS[reason]}" for reason in ReviewReason]
    return ["## Why a payment is in REVIEW", "", *lines, ""]
