"""What is on file about one receipt number, in the books or not, and what that means. Nothing here writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from ops.erased_callbacks import read_stored
from ops.references import cleaned, is_reference
from ops.words import eat, payment_line, payment_record, visible
from shared.daraja.callback_reader import CallbackSuccess
from shared.database import Database, Row
from shared.values import in_words

NOT_A_SALE, A_SALE_AFTER_ALL = "not_a_sale", "a_sale_after_all"
"""Kinds of rows in reconciliation_log; the last one about a receipt holds."""
CLASSES = {
    "payment": "a payment",
    "charge": "a charge of Safaricom's",
    "reversal": "a reversal: money that went back",
    "sweep": "a transfer between the shop's own accounts",
    "settlement": "a transfer to the shop's bank",
    "organisation": "money of an organisation, or under words that Lipa does not know: it may be a customer's",
    "b2c": "a payment by the shop",
    "other": "a transaction that Lipa does not know",
}
CENTS = (
    "It has cents, and Lipa books whole shillings. Reverse it in the portal and let the customer pay the whole amount; "
    "or settle the order by hand, and say with `ops receipts not-a-sale` why it is not in the books."
)
GOES_BACK = ("reversal", "b2c")
MAY_BE_A_SALE = ("payment", "organisation", "other")
"""What Lipa does not know may be one too: a person says so."""


@dataclass(frozen=True)
class Findings:
    """What is on file about a receipt number."""

    receipt: str
    payments: list[Row]
    """Whose money it is, or went back under it."""
    named_by: list[Row]
    """Other payments of which a callback names it."""
    callbacks: list[Row]
    """Callbacks that name it, for payments that are not in the books."""
    rows: list[Row]
    """Of statements: its own, then those that name it as the receipt that they are about."""
    not_a_sale: Row | None
    """Who said so, and why."""

    @property
    def own_rows(self) -> list[Row]:
        return [row for row in self.rows if row["receipt"] == self.receipt]

    @property
    def reversal(self) -> Row | None:
        """The row that took this money back, all of it."""
        back = next((row for row in self.rows if row["class"] == "reversal" and row["completed"]), None)
        whole = self.payment_row is None or self.went_back_kes >= self.payment_row["paid_in"]
        return back if whole else None

    @property
    def went_back_kes(self) -> Decimal:
        """The same row may stand in several files."""
        rows = {
            (row["receipt"], row["withdrawn"]) for row in self.rows if row["class"] == "reversal" and row["completed"]
        }
        return sum((withdrawn for _, withdrawn in rows), Decimal(0))

    @property
    def payment_row(self) -> Row | None:
        """The completed row that brought money which may be a sale."""
        came = [row for row in self.own_rows if row["completed"] and row["paid_in"] > 0]
        return next((row for row in came if row["class"] in MAY_BE_A_SALE), None)

    @property
    def amounts(self) -> set[Decimal]:
        """Of money that may be a sale, as statements and callbacks have it: one, where they agree."""
        rows = {row["paid_in"] for row in self.own_rows if row["completed"] and row["class"] in MAY_BE_A_SALE}
        said = {said.amount_kes for said in map(said_success, self.callbacks) if said and said.amount_kes}
        return rows - {Decimal(0)} | said

    @property
    def disagrees(self) -> bool:
        """Statements have several amounts under it, one way: one of the files was edited or cut off."""
        moved = [row for row in self.own_rows if row["completed"] and row["class"] in MAY_BE_A_SALE + GOES_BACK]
        ways = ({row[way] for row in moved if row[way]} for way in ("paid_in", "withdrawn"))
        return any(len(amounts) > 1 for amounts in ways)

    def of_amount(self, amount_kes: Decimal) -> Findings:
        """Where several amounts are on file and a person says which is right: the rest is left out."""
        if len(self.amounts) < 2 or amount_kes not in self.amounts:
            return self
        return replace(
            self,
            rows=[row for row in self.rows if row["receipt"] != self.receipt or row["paid_in"] == amount_kes],
            callbacks=[
                each for each in self.callbacks if (said := said_success(each)) and said.amount_kes == amount_kes
            ],
        )

    @property
    def has_cents(self) -> bool:
        return self.payment_row is not None and self.payment_row["paid_in"] % 1 != 0

    @property
    def bookable(self) -> bool:
        """Whether `ops book` may make a payment of it."""
        if self.payments or self.named_by or self.not_a_sale or self.reversal or self.has_cents:
            return False
        return self.payment_row is not None or any(map(said_success, self.callbacks))

    @property
    def is_known(self) -> bool:
        return bool(self.payments or self.named_by or self.callbacks or self.rows or self.not_a_sale)


def said_success(callback: Row) -> CallbackSuccess | None:
    """What a callback says, where it says that money came."""
    said = read_stored(callback)
    return said if isinstance(said, CallbackSuccess) and callback["outcome"] == "unknown_transaction" else None


def search(database: Database, receipt: str) -> Findings:
    """By the number in any case."""
    receipt = receipt.strip().upper()
    callbacks = database.rows(
        """
        SELECT i.id, i.transaction_id, i.received_at, i.outcome, i.body, i.erased_sha256, i.seal,
               EXISTS (SELECT FROM transactions t WHERE t.id = i.transaction_id) AS in_the_books
        FROM callback_inbox i
        WHERE i.receipts && ARRAY[CAST(:receipt AS text), lower(:receipt)] AND i.receipts <> '{}'
        ORDER BY i.received_at, i.id
        """,
        receipt=receipt,
    )
    in_the_books = {str(row["transaction_id"]) for row in callbacks if row["in_the_books"]}
    payments = database.rows(
        """
        SELECT t.id, t.status, t.review_reason, t.amount, t.account_reference, t.phone_number, t.created_at, t.paid_at,
               t.refund_receipt, c.mpesa_receipt_number, c.evidence
        FROM (SELECT o.transaction_id AS id FROM payment_confirmations o WHERE o.mpesa_receipt_number = :receipt
              UNION SELECT o.id FROM transactions o WHERE o.refund_receipt = :receipt
              UNION SELECT unnest(string_to_array(:named, ' ')::uuid[])) named
        JOIN transactions t USING (id) LEFT JOIN payment_confirmations c ON c.transaction_id = t.id
        ORDER BY t.created_at
        """,
        receipt=receipt,
        named=" ".join(in_the_books),
    )
    theirs = [row for row in payments if receipt in (row["mpesa_receipt_number"], row["refund_receipt"])]
    said = database.row(
        """
        SELECT kind, who, why, at FROM reconciliation_log
        WHERE subject = :receipt AND kind IN (:no, :yes) ORDER BY id DESC LIMIT 1
        """,
        receipt=receipt,
        no=NOT_A_SALE,
        yes=A_SALE_AFTER_ALL,
    )
    return Findings(
        receipt,
        theirs,
        [row for row in payments if row not in theirs],
        [row for row in callbacks if not row["in_the_books"]],
        database.rows(
            f"""
            SELECT r.id, r.sha256, r.row_number, r.receipt, r.at, r.class, r.status, r.completed, r.paid_in,
                   r.withdrawn, r.linked_receipt, r.transaction_id,
                   {"r.account, r.raw" if _names_people(database) else "NULL AS account, NULL AS raw"},
                   f.balance_chain, f.who, f.written_at
            FROM statement_rows r JOIN statement_files f USING (sha256)
            WHERE r.receipt = :receipt OR r.linked_receipt = :receipt ORDER BY r.receipt <> :receipt, r.at, r.id
            """,  # noqa: S608  # our own words
            receipt=receipt,
        ),
        said if said is not None and said["kind"] == NOT_A_SALE else None,
    )


def _names_people(database: Database) -> bool:
    """Whether this role may read what can name somebody: the functions' own role may not."""
    row = database.row("SELECT has_column_privilege('statement_rows', 'raw', 'SELECT') AS may")
    return row is not None and bool(row["may"])


def typed_as_account(database: Database, reference: str) -> list[str]:
    """Receipts of money that no payment has, whose payer typed this order as the account; the newest five."""
    if not _names_people(database):
        return []
    rows = database.rows(
        r"""
        SELECT receipt FROM statement_rows
        WHERE transaction_id IS NULL AND account IS NOT NULL AND completed AND paid_in > 0
          AND lower(regexp_replace(account, '[^[:alnum:]]', '', 'g')) = lower(:reference)
        ORDER BY at DESC LIMIT 5
        """,
        reference=cleaned(reference),
    )
    return [str(row["receipt"]) for row in rows]


def document(found: Findings) -> dict[str, object]:
    """For a program."""
    return {
        "receipt": found.receipt,
        "payments": [payment_record(row) for row in (*found.payments, *found.named_by)],
        "callbacks": [
            {"callback": row["id"], "transaction_id": row["transaction_id"], "received_at": row["received_at"],
             "outcome": row["outcome"], "amount_kes": _amount(row)}
            for row in found.callbacks
        ],
        "statement_rows": [
            {"sha256": row["sha256"], "row_number": row["row_number"], "receipt": row["receipt"], "at": row["at"],
             "class": row["class"], "status": row["status"], "account": row["account"],
             "linked_receipt": row["linked_receipt"], **_paid(row)}
            for row in found.rows
        ],
        "not_a_sale": found.not_a_sale and {name: found.not_a_sale[name] for name in ("who", "why", "at")},
        "do_now": " ".join(do_now(found)),
        "commands": [{"command": command, "when": when} for command, when in commands(found)],
    }  # fmt: skip


def _amount(callback: Row) -> Decimal | None:
    said = read_stored(callback)
    return said.amount_kes if isinstance(said, CallbackSuccess) else None


def _paid(row: Row) -> dict[str, object]:
    """Whole shillings as such; cents only where the row has some."""
    return {
        name: None if row[column] is None else int(row[column]) if row[column] % 1 == 0 else float(row[column])
        for name, column in (("paid_in_kes", "paid_in"), ("withdrawn_kes", "withdrawn"))
    }


def lines(found: Findings) -> Iterator[str]:
    """Where it stands, then what to do."""
    yield f"Receipt {visible(found.receipt)}. Times are East Africa Time."
    for row in found.payments:
        back = " It went back under this receipt." if row["refund_receipt"] == found.receipt else ""
        yield f"  In the books: {payment_line(row)}{back}"
    for row in found.named_by:
        yield f"  A callback of this payment names it: {payment_line(row)}"
    for row in found.callbacks:
        amount = _amount(row)
        says = f"{in_words(amount)}, " if amount is not None else ""
        payment = f"payment {row['transaction_id']}, which is not in the books"
        outcome = row["outcome"] or "not judged yet"
        yield f"  In the inbox since {eat(row['received_at'])}: {says}for {payment} ({outcome})"
    for row in found.rows:
        yield f"  {_line(row, found.receipt)}"
    if found.not_a_sale:
        said = found.not_a_sale
        yield f"  Not a sale, says {said['who']}, {eat(said['at'])}: {said['why']}"
    if not found.is_known:
        yield "  In none: not in the books, in no callback, in no statement that was written."
    yield f"Do now: {' '.join(do_now(found))}"
    for command, when in commands(found):
        yield f"  {command}   # {when}"


def _line(row: Row, receipt: str) -> str:
    came = row["paid_in"] > 0
    amount = row["paid_in"] if came else row["withdrawn"]
    kes = in_words(amount) if amount % 1 == 0 else f"KES {amount:,.2f}"
    account = f", account {visible(row['account'])}" if row["account"] else ""
    own = "" if row["receipt"] == receipt else f"{row['receipt']}, about this receipt: "
    return (
        f"On a statement, file {row['sha256'][:12]}, row {row['row_number']} (written by {visible(row['who'])}, "
        f"{eat(row['written_at'])}): {own}{CLASSES[row['class']]}, {eat(row['at'])}, {kes} {'in' if came else 'out'}, "
        f"{visible(row['status'])}{account}"
    )


def do_now(found: Findings) -> list[str]:
    """What it means for whoever has the customer on the phone."""
    if found.payments:
        return ["`ops case` of the payment says what to do."]
    if found.named_by:
        return ["It came for that payment and did not fit: `ops case` of the payment says what to do."]
    if found.not_a_sale:
        return ["Nothing. If it is a sale after all, take that back first."]
    if found.reversal:
        return ["Nothing to book: this money went back."]
    if found.bookable:
        return ["The money is here, and no payment has it. Find the order, and book it."]
    if found.has_cents:
        return [CENTS]
    if found.own_rows:
        return [_not_money(found)]
    if found.callbacks:
        return ["A callback names it, and could not be judged. Look in the portal whether the money came."]
    return [
        "Do not deliver yet. Nothing that Lipa has names this receipt: it may be too new, of another shop, mistyped, "
        "or made up, as forged messages are. Look for it in the M-Pesa organisation portal. If it is not there, no "
        "money came: ask the customer to forward the message itself, and to compare your number with the one they "
        "paid. If it is there, download the statement and run `ops reconcile FILE --write`."
    ]


def _not_money(found: Findings) -> str:
    failed = [row for row in found.own_rows if not row["completed"]]
    if len(failed) == len(found.own_rows):
        return f"No money came: the statement says {visible(failed[0]['status'])}. The customer may order again."
    row = next(row for row in found.own_rows if row["completed"])
    return f"No sale: on the statement this is {CLASSES[row['class']]}."


def commands(found: Findings) -> list[tuple[str, str]]:
    """To copy."""
    receipt = visible(found.receipt)
    if found.payments or found.named_by:
        return [
            (f"python -m ops case {row['id']}", "everything about it") for row in (*found.payments, *found.named_by)
        ]
    if found.not_a_sale:
        return [(f'python -m ops receipts not-a-sale {receipt} --undo --why "…"', "it is a sale after all")]
    no_sale = (f'python -m ops receipts not-a-sale {receipt} --why "…"', "it is no sale")
    if found.bookable:
        order = cleaned(found.payment_row["account"]) if found.payment_row else ""
        order = order if is_reference(order) else "ORDER"
        return [(f'python -m ops book {receipt} --reference {order} --why "…"', "it paid this order"), no_sale]
    return [no_sale] if found.has_cents else []
