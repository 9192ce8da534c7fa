"""`python -m ops letters`: show the letters to customers, copy them to edit, check the copies. Needs no database."""

from __future__ import annotations

import argparse
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from ops.answers import Answer
from ops.session import Commands, NotPossible, Session, WrongUse, add_group
from ops.words import counted, visible
from shared.mail.letters import SHOPS_OWN, Kind, Letter, values
from shared.prices import Priced
from shared.settings import shop_settings
from shared.values import LANGS, Lang

if TYPE_CHECKING:
    from shared.mail.templating import BrokenTemplate, Templates

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
    description="For the kitchen",
    items=(
        Priced("basket", "Basket", Decimal(600), 2),
        Priced("mat", "Palm mat & cord", Decimal(300), 1),
    ),
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
        USUAL, customer_name=None, description=None, items=(), receipt=None, refund_receipt=None, refunded_kes=None,
        result_code=None, shop_address=None, shop_tax_pin=None,
    ),
    "long": replace(
        USUAL, customer_name="Wanjikũ-Adhiambo Nyambura wa Kamau " * 4, description="Unbreakable" * 20,
        items=tuple(Priced(f"i{n}", "Unbreakable" * 9, Decimal(5_000), 1) for n in range(50)),
        amount_kes=Decimal(250_000), refunded_kes=Decimal(250_000), account_reference="WWWWWWWWWWWW",
        result_code="1037",
        shop_name="Duka la Vitambaa na Vikapu vya Kisasa vya Mama Njeri na Wanawe, Tawi la Pili",
        shop_address="Jengo la Mfano, ghorofa ya tatu, chumba 312, Barabara ya Moi, S.L.P. 00000-00100, Nairobi",
    ),
    "hostile": replace(
        USUAL, customer_name='<b>"مريم"</b> {{ amount }} \u202eevil 🧺', description="https://evil.example/?a=1&b=2",
    ),
}  # fmt: skip
"""The usual; only what is always known; the longest there can be; what an attacker would type."""
WHOLE_LAYOUT = ("layout", "parts")
MUST_SAY = ("amount", "reference", "date", "transaction_id")
MUST_SAY_TOO = {Kind.INVOICE: ("invoice_number", "receipt"), Kind.FAILED: ("reason", "next_step")}


def add_commands(commands: Commands) -> None:
    actions = add_group(commands, "letters", "the letters customers get; needs no database")
    show = actions.add_parser("show", help="write every letter to a file, as customers get it; prints the paths")
    show.add_argument(
        "folder", metavar="FOLDER", nargs="?", type=Path, help="where to (default: a new temporary folder)"
    )
    show.add_argument("--sample", choices=SAMPLES, default="usual", help=", ".join(SAMPLES) + " (default: usual)")
    show.set_defaults(run=_run, act=_show)
    edit = actions.add_parser("edit", help="copy a letter to shared/mail/shop_templates/, where it is yours to change")
    whats = [str(each) for each in (*Kind, *WHOLE_LAYOUT)]
    edit.add_argument("what", metavar="KIND", choices=whats, help=", ".join(whats))
    edit.add_argument("lang", metavar="LANG", nargs="?", choices=LANGS, help=" or ".join(LANGS) + "; without it, both")
    edit.set_defaults(run=_run, act=_edit)
    check = actions.add_parser("check", help="errors in your own; exits 1 where there are any")
    check.set_defaults(run=_run, act=_check)


def _run(session: Session, chosen: argparse.Namespace) -> Answer:
    return run(chosen, session.environ)


def run(chosen: argparse.Namespace, environ: Mapping[str, str], folder: Path = SHOPS_OWN) -> Answer:
    """Code 1: a template of the shop's own has an error. Raises `NotPossible`."""
    answer: Answer = chosen.act(chosen, environ, folder)
    return answer


def samples(environ: Mapping[str, str]) -> dict[str, Letter]:
    """The samples, with the shop's own name, address and PIN where the environment has them."""
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
    """An error in a file; or a note, where the letter is sent all the same."""

    file: str
    line: int | None
    problem: str
    detail: str = ""
    is_error: bool = True

    @classmethod
    def of(cls, broken: BrokenTemplate) -> Found:
        return cls(broken.template, broken.line, broken.problem, broken.detail)

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        said = f"{place}: {self.problem}" + f" ({visible(self.detail)})" * bool(self.detail)
        return said if self.is_error else f"{said} (a note: it is sent all the same)"


def look_at(folder: Path, environ: Mapping[str, str]) -> list[Found]:
    """All errors in a shop's own templates: in each file, then in each letter that is written with them."""
    from shared.mail.templating import BUILT_IN, Templates, own_files

    templates = Templates(folder, BUILT_IN)
    found = [*_unused_files(folder)]
    for name in own_files(folder):
        found += _errors_of(templates, name)
    return list(dict.fromkeys(found or _errors_of_letters(templates, environ)))


def _unused_files(folder: Path) -> Iterator[Found]:
    from shared.mail.templating import FILES

    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not (path.is_dir() or name == "README.md" or name in FILES or path.name.startswith(".")):
            yield Found(name, None, "no letter has such a file", "`ops letters edit` makes those that are used")


def _errors_of(templates: Templates, name: str) -> Iterator[Found]:
    from jinja2 import TemplateError

    from shared.mail.templating import BrokenTemplate

    try:
        subject, body = templates.read(name)
        if subject is not None:
            yield from _mistakes(templates, name, subject)
            if re.search("[{}]", re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", subject)):
                yield Found(name, 1, "a single brace in the subject", "a value is written as {{ amount }}")
        yield from _mistakes(templates, name, body)
    except BrokenTemplate as broken:
        yield Found.of(broken)
    except TemplateError as wrong:
        yield Found(name, getattr(wrong, "lineno", None), "a syntax error", wrong.message or "")
    except (RecursionError, MemoryError):
        yield Found(name, None, "a syntax error", "too many brackets within each other")


def _mistakes(templates: Templates, name: str, source: str) -> Iterator[Found]:
    """What Jinja finds only when the line is used, or never. Raises what Jinja raises."""
    from jinja2 import meta, nodes

    from shared.mail.templating import FILES

    form = name.rpartition(".")[2]
    jinja = templates.jinja[form]
    tree = jinja.parse(source, name, name)
    jinja.compile(tree, name, name)
    own = {macro.name for macro in tree.find_all(nodes.Macro)}
    own |= {each.name for each in tree.find_all(nodes.Name) if each.ctx == "store"}
    for imported in tree.find_all(nodes.FromImport):
        own |= {each if isinstance(each, str) else each[1] for each in imported.names}
    known = {*values(USUAL), "subject"} if form == "html" else {*values(USUAL)}
    unknown = meta.find_undeclared_variables(tree) - own - known
    for each in tree.find_all(nodes.Name):
        if each.name in unknown:
            unknown.remove(each.name)
            detail = f"there is no {each.name!r}; docs/letters.md lists what there is"
            yield Found(name, each.lineno, "an unknown name", detail)
    if tree.find(nodes.Extends) is None:
        return
    layouts = [templates.read(file)[1] for file in FILES if file.endswith(f"layout.{form}")]
    blocks = set(re.findall(r"\{%-?\s*block\s+(\w+)", "".join(layouts)))
    for part in tree.body:
        if isinstance(part, nodes.Block) and part.name not in blocks:
            detail = f"no layout has a block {part.name!r}, but: {', '.join(sorted(blocks))}"
            yield Found(name, part.lineno, "never shown", detail)
        for text in part.nodes if isinstance(part, nodes.Output) else ():
            if not isinstance(text, nodes.TemplateData) or text.data.strip():
                yield Found(name, text.lineno, "never shown", "it stands outside every block")


def _errors_of_letters(templates: Templates, environ: Mapping[str, str]) -> Iterator[Found]:
    from shared.mail.templating import BrokenTemplate

    for kind in Kind:
        for lang in LANGS:
            for name, sample in samples(environ).items():
                shown = values(replace(sample, kind=kind, lang=lang))
                try:
                    letter = templates.write(kind, lang, shown)
                except BrokenTemplate as broken:
                    yield Found.of(broken)
                    break
                if name == "usual":
                    for form, text in (("txt", letter.text), ("html", letter.html)):
                        must_say = MUST_SAY + MUST_SAY_TOO.get(kind, ())
                        missing = [each for each in must_say if str(shown[each]) not in text]
                        if missing:
                            file = f"{lang}/{kind}.{form}"
                            yield Found(file, None, f"it does not say: {', '.join(missing)}", is_error=False)


def _check(_: argparse.Namespace, environ: Mapping[str, str], folder: Path) -> Answer:
    from shared.mail.templating import own_files

    found, own = look_at(folder, environ), own_files(folder)
    errors = sum(each.is_error for each in found)
    lines = [str(each) for each in found]
    lines.append(f"{counted(len(own), 'template')} of your own in {_shown(folder)}, {counted(errors, 'error')}")
    if errors:
        lines.append("Until they are put right and deployed, customers get the built-in letters instead.")
    return Answer({"own": own, "found": found}, lines, code=1 if errors else 0)


# Copying --------------------------------------------------------------------------------------------------------------


def _edit(chosen: argparse.Namespace, environ: Mapping[str, str], folder: Path) -> Answer:
    from shared.mail.templating import BUILT_IN

    files = files_of(chosen.what, chosen.lang)
    there = [name for name in files if (folder / name).exists()]
    if there:
        raise NotPossible(f"{', '.join(there)}: already in {_shown(folder)}; delete the file to begin anew")
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((BUILT_IN / name).read_bytes())
    made = [_shown(folder / name) for name in files]
    next_step = "Change it, look at it with `python -m ops letters show`, then commit and deploy."
    return Answer({"files": made}, [*made, next_step])


def files_of(what: str, lang: Lang | None) -> list[str]:
    """The files that make a letter, or its frame."""
    if what == "parts" or (what == "layout" and lang is None):
        return [f"{what}.html"]
    return [f"{each}/{what}.{form}" for each in ([lang] if lang else LANGS) for form in ("txt", "html")]


def _shown(path: Path) -> str:
    return os.path.relpath(path)


# Showing --------------------------------------------------------------------------------------------------------------


def _show(chosen: argparse.Namespace, environ: Mapping[str, str], folder: Path) -> Answer:
    from shared.mail.templating import BUILT_IN, BrokenTemplate, Templates, built_in

    target = chosen.folder or Path(tempfile.mkdtemp(prefix="letters-"))
    templates = Templates(folder, BUILT_IN)
    errors, files = [], []
    for kind in Kind:
        for lang in LANGS:
            shown = values(replace(samples(environ)[chosen.sample], kind=kind, lang=lang))
            try:
                letter = templates.write(kind, lang, shown)
            except BrokenTemplate as broken:
                errors.append(Found.of(broken))
                letter = built_in().write(kind, lang, shown)
            files.append(_save(target / lang / f"{kind}.html", letter.html))
            files.append(_save(target / lang / f"{kind}.txt", f"Subject: {letter.subject}\n\n{letter.text}"))
    wrong = [f"{each}: the built-in letter is shown, as customers would get it" for each in errors]
    return Answer({"files": files, "errors": errors}, [*files, *wrong], code=1 if errors else 0)


def _save(path: Path, text: str) -> str:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as failure:
        raise WrongUse(f"{path} cannot be written: {failure.strerror}") from None
    return str(path)
