"""Letters out of Jinja templates: the shop's own file where it has one, else the built-in one.

Imported only when a letter is written: Jinja takes some tens of milliseconds. Whoever edits a template can edit the
code too, so this guards against mistakes, not against attacks: Jinja's sandbox, a fixed list of filters, no arithmetic
that repeats a text, and a limit on what is written. HTML is always escaped.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import jinja2
from jinja2.environment import TemplateModule
from jinja2.exceptions import SecurityError
from jinja2.runtime import LoopContext
from jinja2.sandbox import SandboxedEnvironment

from shared.mail.mailer import mail_line

BUILT_IN = Path(__file__).parent / "templates"
FILES = frozenset([path.relative_to(BUILT_IN).as_posix() for path in BUILT_IN.rglob("*.*")])
"""Every template there is; a shop may have its own of each."""
FILTERS = ("capitalize", "default", "e", "escape", "lower", "title", "trim", "upper", "urlencode")
LONGEST = 100_000
"""Characters of a file, and of what is written from it: Gmail hides what comes after 102 KB."""
SUBJECT = re.compile(r"\A[ \t]*Subject:[ \t]*(.*)", re.IGNORECASE)
AUTOESCAPE = re.compile(r"\{%[-+]?\s*autoescape")
T = TypeVar("T")


class BrokenTemplate(Exception):
    """This template cannot be used. `where` names line and problem in our words; `detail` may quote the file."""

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
    """A letter without its addresses."""

    subject: str
    text: str
    html: str


class Templates:
    """The templates of some folders: the first folder that has a file wins."""

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self.jinja = {form: _Sandbox(self.read, autoescape=form == "html") for form in ("html", "txt")}
        """By the form of a file. The one for HTML escapes in whatever file it uses."""

    def write(self, kind: str, lang: str, values: Mapping[str, object]) -> Written:
        """The letter. Raises `BrokenTemplate`."""
        name = f"{lang}/{kind}"
        subject = self._subject(f"{name}.txt", values)
        text = re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", self._filled(f"{name}.txt", values))).strip() + "\n"
        html = self._filled(f"{name}.html", {**values, "subject": subject})
        for form, visible in (("txt", text), ("html", re.sub(r"<[^>]*>", "", html))):
            if not visible.strip():
                raise BrokenTemplate(f"{name}.{form}", None, "nothing in it")
        return Written(subject, text, html)

    def read(self, name: str) -> tuple[str | None, str]:
        """A file's subject, where it has one, and the rest with its line numbers. Raises `BrokenTemplate`,
        or `TemplateNotFound` for a name that is not in FILES.
        """
        if name not in FILES:
            raise jinja2.TemplateNotFound(name)
        paths = [folder / name for folder in self._folders if (folder / name).is_file()]
        if not paths:
            raise jinja2.TemplateNotFound(name)
        path = paths[0]
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as wrong:
            line = wrong.object[: wrong.start].count(b"\n") + 1
            raise BrokenTemplate(name, line, "not UTF-8", "save the file as UTF-8") from None
        except OSError as wrong:
            raise BrokenTemplate(name, None, "it cannot be read", wrong.strerror or "") from None
        if len(text) > LONGEST:
            raise BrokenTemplate(name, None, "the file is too large", f"at most {LONGEST} characters")
        if switch := AUTOESCAPE.search(text):
            line = text.count("\n", 0, switch.start()) + 1
            raise BrokenTemplate(name, line, "escaping cannot be switched", "no {% autoescape %} in a letter")
        subject = SUBJECT.match(text)
        return (subject[1], "{##}" + text[subject.end() :]) if subject else (None, text)

    def _subject(self, name: str, values: Mapping[str, object]) -> str:
        subject, _ = _explained(name, lambda: self.read(name))
        if subject is None:
            raise BrokenTemplate(name, 1, "no subject", "the first line must be 'Subject: …'")
        written = mail_line(_explained(name, lambda: self.jinja["txt"].from_string(subject).render(values), line=1))
        if not written:
            raise BrokenTemplate(name, 1, "an empty subject")
        return written

    def _filled(self, name: str, values: Mapping[str, object]) -> str:
        def fill() -> str:
            pieces: list[str] = []
            length = 0
            for piece in self.jinja[name.rpartition(".")[2]].get_template(name).generate(values):
                pieces.append(piece)
                length += len(piece)
                if length > LONGEST:
                    raise BrokenTemplate(name, None, "what it writes is too long")
            return "".join(pieces)

        return _explained(name, fill)


class _Sandbox(SandboxedEnvironment):
    """Jinja's own sandbox, without the usual ways to fill the memory by mistake. An unknown name is an error."""

    intercepted_binops = frozenset(("*", "**", "%"))

    def __init__(self, read: Callable[[str], tuple[str | None, str]], *, autoescape: bool) -> None:
        super().__init__(
            loader=jinja2.FunctionLoader(lambda name: (read(name)[1], name, None)),
            autoescape=autoescape,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self.globals.clear()
        self.filters = {name: self.filters[name] for name in FILTERS}

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        raise SecurityError(f"{operator} cannot be used in a letter")

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return isinstance(obj, LoopContext | TemplateModule) and super().is_safe_attribute(obj, attr, value)


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
    return sorted(name for name in FILES if (folder / name).is_file())


def _explained(name: str, work: Callable[[], T], line: int | None = None) -> T:
    """What `work` returns. Whatever it raises becomes a `BrokenTemplate`: a letter is written in any case."""
    try:
        return work()
    except BrokenTemplate:
        raise
    except jinja2.TemplateSyntaxError as wrong:
        at = line or wrong.lineno
        raise BrokenTemplate(wrong.filename or name, at, "a syntax error", wrong.message or "") from None
    except Exception as failure:
        trace = failure.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename in FILES:
                name, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
            trace = trace.tb_next
        unknown = isinstance(failure, jinja2.UndefinedError)
        detail = str(failure) if isinstance(failure, jinja2.TemplateError) else type(failure).__name__
        raise BrokenTemplate(name, line, "an unknown name" if unknown else "it cannot be filled in", detail) from None
