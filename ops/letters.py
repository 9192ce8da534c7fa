"""`python -m ops letters`: see what customers get, make it the shop's own, check what was made. Needs no books."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from ops.session import Commands, NotPossible, Session, add_group
from ops.words import visible
from shared.language import LANGS, Lang
from shared.mail.letters import SHOPS_OWN, Kind, Letter, values
from shared.settings import shop_settings

if TYPE_CHECKING:
    from shared.mail.templating import BrokenTemplate

A_MOMENT = datetime(2026, 11, 22, 22, 29, 59, tzinfo=UTC)
USUAL = Letter(
    kind=Kind.INVOICE,
    lang="en",
    transaction_id="7b8f8a3e-0000-4000-8000-000000000000",
    customer_name="Wanjiru Example",
    customer_email="wanjiru@customer.example",
    customer_phone="254700000012",
    amount_kes=Decimal(1500),
    account_reference="INV00042",
    description="Two baskets & a mat",
    at=A_MOMENT,
    receipt="UKM4JS31RB",
    refund_receipt="UKN5AA11BB",
    refunded_kes=Decimal(1500),
    result_code="1",
    invoice_number="INV-2026-000042",
    invoice_date=A_MOMENT,
    shop_name="Duka la Mfano",
    shop_address="Moi Avenue 12, Nairobi",
    shop_tax_pin="P000000000A",
    reply_to="support@shop.example",
)
SAMPLES: Mapping[str, Letter] = {
    "usual": USUAL,
    "sparse": replace(
        USUAL, customer_name=None, description=None, receipt=None, refund_receipt=None, refunded_kes=None,
        result_code=None, shop_address=None, shop_tax_pin=None,
    ),
    "long": replace(
        USUAL, customer_name="Wanjikũ-Adhiambo Nyambura wa Kamau " * 4, description="Unbreakable" * 20,
        amount_kes=Decimal(250_000), refunded_kes=Decimal(250_000), account_reference="WWWWWWWWWWWW",
        result_code="1037",
        shop_name="Duka la Vitambaa na Vikapu vya Kisasa vya Mama Njeri na Wanawe, Tawi la Pili",
        shop_address="Jengo la Mfano, ghorofa ya tatu, chumba 312, Barabara ya Moi, S.L.P. 00000-00100, Nairobi",
    ),
    "hostile": replace(
        USUAL, customer_name='<b>"مريم"</b> {{ amount }} \u202eevil 🧺', description="https://evil.example/?a=1&b=2",
    ),
}  # fmt: skip
"""The usual; only what is always known; as much as there can be; what nobody should type."""
WHOLE_LAYOUT = ("layout", "parts")
MUST_SAY = ("amount", "reference", "date", "transaction_id")
MUST_SAY_TOO = {Kind.INVOICE: ("invoice_number", "receipt"), Kind.FAILED: ("reason", "next_step")}


def add_commands(commands: Commands) -> None:
    actions = add_group(commands, "letters", "the letters customers get; needs no database")
    show = actions.add_parser("show", help="every letter in both languages, in the browser; a reload shows your edits")
    show.add_argument("--port", type=_port, default=None, help="where on 127.0.0.1 (default: 8891, or any free one)")
    show.set_defaults(run=_letters, act=_show)
    edit = actions.add_parser("edit", help="copy a letter to shared/mail/shop_templates/, where it is yours to change")
    whats = [str(each) for each in (*Kind, *WHOLE_LAYOUT)]
    edit.add_argument("what", metavar="KIND", choices=whats, help=", ".join(whats))
    edit.add_argument("lang", metavar="LANG", nargs="?", choices=LANGS, help=" or ".join(LANGS) + "; without it, both")
    edit.set_defaults(run=_letters, act=_edit)
    check = actions.add_parser("check", help="what is wrong with your own; 1 where something is")
    check.set_defaults(run=_letters, act=_check)


def _letters(session: Session, chosen: argparse.Namespace) -> int:
    return run(chosen, session.environ)


def run(chosen: argparse.Namespace, environ: Mapping[str, str], folder: Path = SHOPS_OWN) -> int:
    """0: done, and nothing is wrong. 1: something is wrong with the shop's own templates. Raises `NotPossible`."""
    ended: int = chosen.act(chosen, environ, folder)
    return ended


def samples(environ: Mapping[str, str]) -> dict[str, Letter]:
    """A letter of each sort, under the shop's own name, address and PIN where the environment has them."""
    shop = shop_settings(environ)
    return {
        name: replace(
            letter,
            shop_name=shop.name if environ.get("SHOP_NAME") else letter.shop_name,
            shop_address=shop.address or letter.shop_address,
            shop_tax_pin=shop.tax_pin or letter.shop_tax_pin,
            reply_to=environ.get("INVOICE_EMAIL_REPLY_TO") or letter.reply_to,
        )
        for name, letter in SAMPLES.items()
    }


# Checking -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """What is wrong with a file, or worth a second look."""

    file: str
    line: int | None
    problem: str
    detail: str = ""
    wrong: bool = True

    @classmethod
    def of(cls, broken: BrokenTemplate) -> Found:
        return cls(broken.template, broken.line, broken.problem, broken.detail)

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.problem}" + f" ({visible(self.detail)})" * bool(self.detail)


def look_at(folder: Path, environ: Mapping[str, str]) -> list[Found]:
    """All that is wrong with a shop's own templates: each file, and each letter that is written with them."""
    found = list(dict.fromkeys([*_strange_files(folder), *_broken_files(folder)]))
    return found or list(dict.fromkeys(_broken_letters(folder, environ)))


def _strange_files(folder: Path) -> Iterator[Found]:
    from shared.mail.templating import FILES

    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or name == "README.md" or name in FILES or path.name.startswith("."):
            continue
        yield Found(name, None, "no letter has such a file", "`ops letters edit` makes those that are used")


def _broken_files(folder: Path) -> Iterator[Found]:
    from shared.mail.templating import BUILT_IN, BrokenTemplate, Templates, own_files

    for name in own_files(folder):
        try:
            Templates(folder, BUILT_IN).check(name)
        except BrokenTemplate as broken:
            yield Found.of(broken)


def _broken_letters(folder: Path, environ: Mapping[str, str]) -> Iterator[Found]:
    from shared.mail.templating import BUILT_IN, BrokenTemplate, Templates

    templates = Templates(folder, BUILT_IN)
    for kind in Kind:
        for lang in LANGS:
            for name, sample in samples(environ).items():
                said = values(replace(sample, kind=kind, lang=lang))
                try:
                    letter = templates.write(kind, lang, said)
                except BrokenTemplate as broken:
                    yield Found.of(broken)
                    break
                if name == "usual":
                    for form, text in (("txt", letter.text), ("html", letter.html)):
                        missing = [each for each in _must_say(kind) if str(said[each]) not in text]
                        if missing:
                            file = f"{lang}/{kind}.{form}"
                            yield Found(file, None, f"it does not say: {', '.join(missing)}", wrong=False)


def _must_say(kind: Kind) -> tuple[str, ...]:
    return MUST_SAY + MUST_SAY_TOO.get(kind, ())


def _check(_: argparse.Namespace, environ: Mapping[str, str], folder: Path) -> int:
    from shared.mail.templating import own_files

    found = look_at(folder, environ)
    for each in found:
        print(each if each.wrong else f"{each} (a note: it is sent all the same)")
    wrong = sum(each.wrong for each in found)
    own = own_files(folder)
    print(f"{len(own)} templates of the shop's own in {_shown(folder)}, {wrong} things wrong")
    if wrong:
        print("Until this is put right and deployed, customers get the built-in letters in their place.")
    return 1 if wrong else 0


# Making it one's own --------------------------------------------------------------------------------------------------


def _edit(chosen: argparse.Namespace, environ: Mapping[str, str], folder: Path) -> int:
    from shared.mail.templating import BUILT_IN

    files = files_of(chosen.what, chosen.lang)
    there = [name for name in files if (folder / name).exists()]
    if there:
        raise NotPossible(f"{', '.join(there)}: already in {_shown(folder)}; delete the file to begin anew")
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((BUILT_IN / name).read_bytes())
        print(_shown(folder / name))
    print("Change it, look at it with `python -m ops letters show`, then commit and deploy.")
    return 0


def files_of(what: str, lang: Lang | None) -> list[str]:
    """The files that make a letter, or its frame."""
    if what == "parts" or (what == "layout" and lang is None):
        return [f"{what}.html"]
    return [f"{each}/{what}.{form}" for each in ([lang] if lang else LANGS) for form in ("txt", "html")]


def _shown(path: Path) -> str:
    return os.path.relpath(path)


# Looking at it --------------------------------------------------------------------------------------------------------


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError("must be a port, like 8891")
    return int(text)


def _show(chosen: argparse.Namespace, environ: Mapping[str, str], folder: Path) -> int:
    from ops.letters_page import LettersPage

    try:
        page = LettersPage(folder, samples(environ), chosen.port)
    except OSError as taken:
        raise NotPossible(f"port {chosen.port}: {taken.strerror}; choose another with --port") from None
    print(f"The letters: {page.address}\nReload the page to see your edits. Ctrl-C ends.", flush=True)
    page.serve()
    return 0
