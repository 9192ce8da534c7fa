"""docs/result-codes.md, printed from the tables of the code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shared.daraja.answers import REFUSALS, PromptOpen, TokenDied, TokenRefused
from shared.daraja.result_codes import CALLBACK_FAILURES, QUERY_FAILURES, KnownCode

TOP = """\
# Result codes

Printed from `shared/daraja/result_codes.py` and `shared/daraja/answers.py` by `python -m dev.print_docs`; a test keeps
it so.

A code is text (`SFC_IC0003`), and only known codes settle a payment:

- `0` is success: in a callback as the JSON integer 0 or the text "0", in a query's answer with HTTP 200.
- A code of the table below fails the payment when a **callback** carries it.
- In the answer to a **query** only those marked so count; the others might speak about the query itself.
- `4999`, `500.001.1001`, 429, HTML and whatever else a query answers mean that there is no answer yet.
- A code that is in no table sends the payment to review.

Evidence: OFF, Safaricom's portal; OBS, captured; COM, said by the community. What we rely on without proof is in
[unverified.md](unverified.md).
"""

REFUSALS_TOP = """\
## Refusals of a push

A push is refused only by one of these, code and words together. Everything else that is no acceptance is unclear: the
payment becomes UNCERTAIN and the push is never sent again. The first row that fits counts.
"""


def result_codes_page() -> str:
    """The whole page, as Markdown."""
    return "\n".join([TOP, *_overview(), *_each(), REFUSALS_TOP, *_refusals()]) + "\n"


def _overview() -> Iterator[str]:
    yield "## All codes"
    yield ""
    yield from _table(
        ("code", "becomes", "in a query too", "asked again", "evidence"),
        (
            (
                f"[`{known.code}`](#{known.code.lower()})",
                known.becomes.value,
                "yes" if known.code in QUERY_FAILURES else "",
                "yes" if known.may_be_taken_back else "",
                known.evidence,
            )
            for known in _in_order()
        ),
    )
    yield "Asked again: 5 minutes and 1 hour later, since Safaricom has been seen to take it back, or since it passes."
    yield ""


def _each() -> Iterator[str]:
    yield "## What is said about each"
    yield ""
    for known in _in_order():
        yield f"### {known.code}"
        yield ""
        yield f"- To the customer: {known.message} {known.next_action}"
        yield f"- To the shop: {known.operator_note}"
        yield ""


def _refusals() -> Iterator[str]:
    kinds = {
        PromptOpen: "prompt open",
        TokenDied: "new token, sent once more",
        TokenRefused: "new token, not sent again",
    }
    yield from _table(
        ("code", "words", "what the shop can do", "more"),
        ((f"`{row.code}`", row.words, row.explanation, kinds.get(row.error, "")) for row in REFUSALS),
    )


def _in_order() -> list[KnownCode]:
    return sorted(CALLBACK_FAILURES.values(), key=lambda known: (not known.code.isdigit(), len(known.code), known.code))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"| {' | '.join('---' for _ in head)} |"
    for row in rows:
        yield f"| {' | '.join(_escaped(cell) for cell in row)} |"
    yield ""


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")
