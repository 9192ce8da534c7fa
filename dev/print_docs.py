"""Prints what the documentation takes from the code: `python -m dev.print_docs` writes it, a test keeps it current."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from dev.api_description import openapi_json
from dev.proofs_page import proofs_page
from shared.daraja.answers import REFUSALS, PromptOpen, TokenRefused
from shared.daraja.result_codes import CALLBACK_FAILURES, QUERY_FAILURES
from shared.payments import PUBLIC, TRANSITIONS, ReviewReason, Status

DOCS = Path(__file__).parent.parent / "docs"

STATES_TOP = """\
# States of a payment

Printed from `shared/payments.py` by `python -m dev.print_docs`; a test keeps it so. Nothing else changes a
status, and the database refuses every transition that is not drawn here.

```mermaid
stateDiagram-v2
    [*] --> INITIATED
"""
MEANINGS = {
    Status.INITIATED: "The row is committed; the push has not been answered yet.",
    Status.PENDING: "Daraja accepted the push. The customer is being asked.",
    Status.UNCERTAIN: "No clear answer came: the push may have arrived. It is never sent again.",
    Status.PAID: "The money is here, with evidence, a confirmation and (if there is an e-mail address) an invoice.",
    Status.FAILED: "Daraja refused the push, or a known result code said that nobody paid.",
    Status.CANCELLED: "The customer cancelled the prompt (1032, 1031).",
    Status.EXPIRED: "Daraja said that the prompt expired (1019). Time alone never sets it.",
    Status.REVIEW: "The evidence does not fit, or there is none: a person must look. The reason is stored beside it.",
    Status.REFUNDED: "The whole amount went back, as an operator or a statement says. A person can take that back.",
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
EVIDENCE = re.compile(r"OFF for other APIs|OFF for Account Balance|OFF|OBS|COM")
RESULT_CODES_TOP = """\
# Result codes

Printed from `shared/daraja/result_codes.py` and `shared/daraja/answers.py` by `python -m dev.print_docs`; a test
keeps it so.

A code is text (`SFC_IC0003`), and only known codes settle a payment:

- `0` is success: in a callback as the JSON integer 0 or the text "0", in a query's answer with HTTP 200.
- Each code below fails the payment when a **callback** carries it. In the answer to a **query** only those marked
  "callback and query" do: the others might be about the query itself.
- `4999`, `500.001.1001`, 429, HTML and any other answer to a query mean that there is no answer yet.
- Any other code sends the payment to review.
- "Asked again" means after 5 minutes and after 1 hour, because the cause passes or Safaricom has taken the code back.

Evidence: OFF, Safaricom's portal (2025-12-28); OBS, captured; COM, said by the community.
What we rely on without proof is in [unverified.md](unverified.md).

## Codes
"""

REFUSALS_TOP = """\
## Refusals of a push

Only these codes and words refuse a push; the first words that fit count. Any other answer that is not an
acceptance is unclear: the payment becomes UNCERTAIN and the push is never sent again. The line `push refused` in the
log of `stkpush` says what to check. An x is any digit. HTTP 401 without such a body is a dead token too.
"""


def states_page() -> str:
    order = list(Status)
    arrows = sorted(TRANSITIONS, key=lambda arrow: (order.index(arrow[0]), order.index(arrow[1])))
    lines = [f"    {was} --> {now}" for was, now in arrows]
    lines += ["```", ""]
    lines += [f"- **{status}** (`{PUBLIC[status]}`): {MEANINGS[status]}" for status in Status]
    lines += ["", "## Why a payment is in REVIEW", ""]
    lines += [f"- `{reason}`: {REASONS[reason]}" for reason in ReviewReason]
    return STATES_TOP + "\n".join([*lines, "", ""])


def result_codes_page() -> str:
    codes = []
    for code in sorted(CALLBACK_FAILURES, key=lambda code: (not code.isdigit(), len(code), code)):
        known = CALLBACK_FAILURES[code]
        where = "callback and query" if code in QUERY_FAILURES else "callback only"
        again = ", asked again" if known.may_be_taken_back else ""
        again += ", the shop is alerted" if known.shops_fault else ""
        evidence = ", ".join(dict.fromkeys(EVIDENCE.findall(known.evidence)))
        codes.append(f"- **{code}** {known.becomes.value}, {where}{again}. {known.operator_note} [{evidence}]")
    kinds = {
        PromptOpen: " (another prompt is open)",
        TokenRefused: " (a new token, and the push is sent once more)",
    }
    refusals: dict[str, list[str]] = {}
    for row in REFUSALS:
        code = re.sub(r"\\d(?:\{(\d)\})?", lambda digits: "x" * int(digits[1] or 1), row.code).replace("\\", "")
        alert = " (the shop is alerted)" if row.shops_fault else ""
        refusals.setdefault(code, []).append(f"{row.words or 'any other words'}{kinds.get(row.error, '')}{alert}")
    lines = [f"- `{code}`: {', '.join(words)}".replace(": any other", ": any") for code, words in refusals.items()]
    return "\n".join([RESULT_CODES_TOP, *codes, "", REFUSALS_TOP, *lines, ""])


PAGES: dict[str, Callable[[], str]] = {
    "proofs/README.md": proofs_page,
    "result-codes.md": result_codes_page,
    "states.md": states_page,
    "../public/openapi.json": openapi_json,
}


def main() -> None:
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), "utf-8")
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
