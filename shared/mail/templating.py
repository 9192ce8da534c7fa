"""Letters out of template files: each file a shop's own where it has one, else the built-in one.

Imported only when a letter is written: Jinja costs a cold start some tens of milliseconds.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from jinja2.sandbox import SandboxedEnvironment

from shared.language import LANGS
from shared.mail.letters import Kind
from shared.mail.mailer import one_line
from shared.mail.template_language import FILTERS, PROBLEM_NAME, TESTS, Refused, check, check_is_seen

BUILT_IN = Path(__file__).parent / "templates"
FILES = frozenset(
    {"layout.html", "parts.html"}
    | {f"{lang}/{name}.{form}" for lang in LANGS for name in ("layout", *Kind) for form in ("html", "txt")}
)
"""Every template there is; a shop may have its own of each."""
NAMES = frozenset(
    {
        "amount", "customer_name", "date", "description", "invoice_date", "invoice_number", "lang", "may_still_arrive",
        "next_step", "phone", "reason", "receipt", "reference", "refund_receipt", "refunded_amount", "reply_to",
        "result_code", "shop_address", "shop_name", "shop_tax_pin", "subject", "time", "transaction_id",
    }
)  # fmt: skip
"""What a template can say: `letters.values`, and the subject in the HTML."""
LONGEST = 100_000
"""Characters of a file, and of what is written from it: Gmail hides what comes after 102 KB."""
SUBJECT = ":subject"
SUBJECT_LINE = re.compile(r"Subject:[ \t]*(.*)", re.IGNORECASE)


class BrokenTemplate(Exception):
    """This template cannot be used. `where` names line and problem, in words of ours; `detail` may quote the file."""

    def __init__(self, template: str, line: int | None, problem: str, detail: str = "") -> None:
        super().__init__(f"{template}: {problem}")
        self.template = template
        self.line = line
        self.problem = problem
        self.detail = detail

    @property
    def where(self) -> str:
        return f"line {self.line}: {self.problem}" if self.line else self.problem


@dataclass(frozen=True, slots=True)
class Written:
    """What was written."""

    subject: str
    text: str
    html: str


class Templates:
    """The templates of some folders: the first that has a file wins."""

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self._jinja = SandboxedEnvironment(
            loader=jinja2.FunctionLoader(self._source),
            autoescape=lambda name: name is not None and name.endswith(".html"),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._jinja.globals.clear()
        self._jinja.filters = {name: self._jinja.filters[name] for name in FILTERS}
        self._jinja.tests = {name: self._jinja.tests[name] for name in TESTS}

    def write(self, kind: str, lang: str, values: Mapping[str, object]) -> Written:
        """The letter. Raises `BrokenTemplate`."""
        name = f"{lang}/{kind}"
        subject = one_line(self._filled(f"{name}.txt{SUBJECT}", values))
        if not subject:
            raise BrokenTemplate(f"{name}.txt", 1, "an empty subject")
        text = re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", self._filled(f"{name}.txt", values))).strip() + "\n"
        html = self._filled(f"{name}.html", {**values, "subject": subject})
        for form, written in (("txt", text), ("html", re.sub(r"<[^>]*>", "", html))):
            if not written.strip():
                raise BrokenTemplate(f"{name}.{form}", None, "nothing in it")
        return Written(subject, text, html)

    def check(self, name: str) -> None:
        """Look at one file without writing a letter. Raises `BrokenTemplate`."""
        self._compiled(name)
        if _has_a_subject(name):
            self._compiled(name + SUBJECT)

    def _filled(self, name: str, values: Mapping[str, object]) -> str:
        file = name.removesuffix(SUBJECT)
        written: list[str] = []
        length = 0
        template = self._compiled(name)
        try:
            for piece in template.generate(values):
                written.append(piece)
                length += len(piece)
                if length > LONGEST:
                    raise BrokenTemplate(file, None, "what it writes is too long")
        except BrokenTemplate:
            raise
        except Exception as failure:  # whatever a template does, a letter is written: with the built-in one
            raise _explained(file, failure) from None
        return "".join(written)

    def _compiled(self, name: str) -> jinja2.Template:
        try:
            return self._jinja.get_template(name)
        except BrokenTemplate:
            raise
        except Exception as failure:
            raise _explained(name.removesuffix(SUBJECT), failure) from None

    def _source(self, name: str) -> tuple[str, str, None]:
        """For Jinja: what stands in the file, once it was looked at."""
        file = name.removesuffix(SUBJECT)
        text, folder = self._read(file)
        if _has_a_subject(file):
            first, _, body = text.partition("\n")
            subject = SUBJECT_LINE.fullmatch(first.strip())
            if subject is None:
                raise BrokenTemplate(file, 1, "no subject", "the first line must be 'Subject: …'")
            text = subject[1] if name.endswith(SUBJECT) else f"{{##}}\n{body}"  # the lines keep their numbers
        try:
            tree = self._jinja.parse(text, file, file)
            check(tree, NAMES, frozenset(each for each in FILES if Path(each).suffix == Path(file).suffix))
            if folder != BUILT_IN:  # whose blocks a shop's own layout may leave out
                check_is_seen(tree, self._blocks_above)
        except Refused as refused:
            raise BrokenTemplate(file, refused.line, refused.problem, refused.detail) from None
        return text, file, None

    def _blocks_above(self, name: str) -> frozenset[str]:
        """The blocks of a layout, and of what it extends."""
        from jinja2 import nodes

        tree = self._jinja.parse(self._read(name)[0], name, name)
        found = {block.name for block in tree.find_all(nodes.Block)}
        for extended in tree.find_all(nodes.Extends):
            if isinstance(extended.template, nodes.Const) and extended.template.value in FILES - {name}:
                found |= self._blocks_above(extended.template.value)
        return frozenset(found)

    def _read(self, name: str) -> tuple[str, Path]:
        for folder in self._folders:
            path = folder / name
            if name in FILES and os.path.lexists(path):
                try:
                    if not (path.is_file() and path.resolve().is_relative_to(folder.resolve())):
                        raise BrokenTemplate(name, None, "it is no file of this folder")
                    if path.stat().st_size > LONGEST:
                        raise BrokenTemplate(name, None, "the file is too large", f"at most {LONGEST} bytes")
                    return path.read_text(encoding="utf-8-sig"), folder
                except UnicodeDecodeError as wrong:
                    line = wrong.object[: wrong.start].count(b"\n") + 1
                    raise BrokenTemplate(name, line, "not UTF-8", "save the file as UTF-8") from None
                except OSError as wrong:
                    raise BrokenTemplate(name, None, "it cannot be read", wrong.strerror or "") from None
        raise BrokenTemplate(name, None, "it is missing")


@functools.cache
def built_in() -> Templates:
    """What Lipa brings."""
    return Templates(BUILT_IN)


@functools.cache
def shops_own(folder: Path) -> Templates | None:
    """The same with the shop's own in place of those it has; None where it has none."""
    return Templates(folder, BUILT_IN) if own_files(folder) else None


def own_files(folder: Path) -> list[str]:
    """The templates that a folder has in place of the built-in ones."""
    return sorted(name for name in FILES if os.path.lexists(folder / name))


def _has_a_subject(name: str) -> bool:
    return name.endswith(".txt") and not name.endswith("/layout.txt")


def _explained(file: str, failure: Exception) -> BrokenTemplate:
    if isinstance(failure, jinja2.TemplateSyntaxError):
        return BrokenTemplate(failure.filename or file, failure.lineno, "a syntax error", failure.message or "")
    template, line = file, None
    trace: Any = failure.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in FILES:
            template, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next
    if isinstance(failure, jinja2.UndefinedError):
        return BrokenTemplate(template, line, PROBLEM_NAME, failure.message or "")
    return BrokenTemplate(template, line, "it cannot be filled in", type(failure).__name__)
