"""`ops link`: an address where a customer pays what the shop says, and nothing else, once. Needs no database."""

from __future__ import annotations

import argparse
import io
import re
from datetime import UTC, datetime, timedelta

from ops.answers import Answer
from ops.session import Commands, NotPossible, Session, WrongUse
from shared.links import LONGEST, PaymentLink, sign
from shared.orders import REFERENCE, REFERENCE_MUST_BE
from shared.settings import limits, link_secrets, shop_settings, site_address
from shared.values import EAT, LONGEST_LINE, LONGEST_TOKEN, in_words, one_line, read_amount_kes

PAGE = "/pay.html"


def add_commands(commands: Commands) -> None:
    link = commands.add_parser("link", help="an address, also as a QR code, where a customer pays this amount once")
    link.add_argument("--amount", required=True, metavar="KES", help="whole shillings")
    link.add_argument(
        "--reference", required=True, type=_reference, help="of the order: letters and digits, at most 12"
    )
    link.add_argument("--description", type=_description, help="what it is for, as the customer reads it")
    link.add_argument("--valid-days", type=_days, default=14, metavar="N", help="how long it can be paid (14)")
    link.add_argument("--page", metavar="ADDRESS", help=f"of your page for links (default: the shop's {PAGE})")
    link.add_argument("--qr", metavar="FILE", help="write the QR code into this file too: .svg, .png or .pdf")
    link.set_defaults(run=_link)


def _link(session: Session, chosen: argparse.Namespace) -> Answer:
    try:
        amount_kes = read_amount_kes(chosen.amount)
    except ValueError as wrong:
        raise WrongUse(f"--amount {wrong}") from None
    most_kes = limits(session.environ).payment_kes
    if amount_kes > most_kes:
        raise NotPossible(f"the shop takes at most {in_words(most_kes)} in one payment (MAX_PAYMENT_KES)")
    page = chosen.page or site_address(session.environ) + PAGE
    if not re.fullmatch(r"https?://[^\s#]+", page):
        raise WrongUse("--page must be a web address without #")
    now = datetime.now(UTC)
    until = now + timedelta(days=chosen.valid_days)
    shop = shop_settings(session.environ).name
    link = PaymentLink.new(amount_kes, chosen.reference, chosen.description, until, shop, now)
    token = sign(link, link_secrets(session.environ)[0])
    if len(token) > LONGEST_TOKEN:
        raise WrongUse("the description and the shop's name are too long for a link")
    url = f"{page}#order={token}"
    drawn = _qr_code(url, chosen.qr)
    what = f" ({chosen.description})" if chosen.description else ""
    last = f"{link.valid_until.astimezone(EAT):%d %B %Y, %H:%M}"
    return Answer(
        {"order": token, "url": url, "valid_until": link.valid_until},
        [url, drawn, f"{in_words(amount_kes)} for {chosen.reference}{what}, once, until {last}."],
    )


def _qr_code(url: str, file: str | None) -> str:
    """For the terminal, and into a file. The link itself needs no package: where it is missing, a sentence says so."""
    try:
        import segno
    except ModuleNotFoundError:
        if file:
            raise WrongUse("a QR code needs the package segno: pip install segno") from None
        return "(A QR code needs the package segno: pip install segno)"
    code = segno.make(url, error="m")
    if file:
        try:
            code.save(file, scale=8)
        except (OSError, ValueError, TypeError, LookupError) as failed:
            raise WrongUse(f"the QR code cannot be written to {file}: {failed}") from None
    drawn = io.StringIO()
    code.terminal(drawn, compact=True)
    return drawn.getvalue()


def _reference(text: str) -> str:
    if not re.fullmatch(REFERENCE, text):
        raise argparse.ArgumentTypeError(REFERENCE_MUST_BE)
    return text


def _description(text: str) -> str:
    words = one_line(text)
    if not 1 <= len(words) <= LONGEST_LINE:
        raise argparse.ArgumentTypeError(f"must be one line of at most {LONGEST_LINE} characters")
    return words


def _days(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= LONGEST.days:
        raise argparse.ArgumentTypeError(f"must be a number of days from 1 to {LONGEST.days}")
    return int(text)
