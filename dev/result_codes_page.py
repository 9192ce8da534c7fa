"""docs/result-codes.md, printed from the tables of the code."""

from __future__ import annotations

from collections.abc import Iterator

from shared.daraja.answers import PromptOpen, TokenDied, TokenRefused
from shared.daraja.error_codes import REFUSALS
from shared.daraja.result_codes import CALLBACK_FAILURES, QUERY_FAILURES, KnownCode

THE_TABLE = "OFF Daraja portal, M-Pesa Express, result codes (2025-12-28)"
TOP = """\
# Result codes

Printed from `shared/daraja/result_codes.py` and `shared/daraja/error_codes.py` by `python -m dev.print_docs`; a test
keeps it so.

A code is text (`SFC_IC0003`), and only known codes settle a payment:

- `0` is success: in a callback as the JSON integer 0 or the text "0", in a query's answer with HTTP 200.
- Each code below fails the payment when a **callback** carries it. In the answer to a **query** only those marked
  "callback and query" do: the others might be about the query itself.
- `4999`, `500.001.1001`, 429, HTML and any other answer to a query mean that there is no answer yet.
- Any other code sends the payment to review.
- The customer's words are in `shared/daraja/result_codes.py`, in Swahili in `shared/mail/reasons.py`.
- "Asked again" means after 5 minutes and after 1 hour, because the cause passes or Safaricom has taken the code back.

Evidence: OFF, the table of result codes on Safaricom's portal (2025-12-28), or the page that is named; OBS, captured;
COM, said by the community. What we rely on without proof is in [unverified.md](unverified.md).

## Codes
"""

REFUSALS_TOP = """\
## Refusals of a push

Only these refuse a push, code and words together; the first line that fits counts. Any other answer that is not an
acceptance is unclear: the payment becomes UNCERTAIN and the push is never sent again. The line `push refused` in the
log of `stkpush` says what to check.
"""


def result_codes_page() -> str:
    """The whole page, as Markdown."""
    return "\n".join([TOP, *_each(), REFUSALS_TOP, *_refusals()]) + "\n"


def _each() -> Iterator[str]:
    for known in _in_order():
        where = "callback and query" if known.code in QUERY_FAILURES else "callback only"
        again = ", asked again" if known.may_be_taken_back else ""
        evidence = known.evidence.replace(THE_TABLE, "OFF")
        yield f"- **{known.code}** {known.becomes.value}, {where}{again}. {known.operator_note} [{evidence}]"
    yield ""


def _refusals() -> Iterator[str]:
    kinds = {
        PromptOpen: " (another prompt is open)",
        TokenDied: " (a new token, and the push is sent once more)",
        TokenRefused: " (a new token; the push is not sent again)",
    }
    yield from (f"- `{row.code}` {row.words or '(any other words)'}{kinds.get(row.error, '')}" for row in REFUSALS)


def _in_order() -> list[KnownCode]:
    return sorted(CALLBACK_FAILURES.values(), key=lambda known: (not known.code.isdigit(), len(known.code), known.code))
