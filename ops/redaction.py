"""A person's values replaced in whatever was stored: in words, in ids, and inside the raw bytes of a callback.

Pure. A number is found in every way it is written: 0712 345 678, +254712345678, as a JSON number, escaped, masked
(2547*****678), at the end of a CheckoutRequestID, hashed as C2B messages have it. What replaces it has the same form,
so a message that could be read still can, and one that could not still cannot. What a callback says about the money
(its code, amount, receipt, date, and which push it names) is compared before and after, and stays.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from shared.daraja.callback_reader import (
    CallbackFailure,
    CallbackSuccess,
    CallbackUnknownCode,
    read_callback,
    receipts_seen,
)
from shared.erased import ERASED_EMAIL

ERASED = "erased"
FILLING = r"[ \-.()/]{0,2}"
_MASKED = re.compile(
    r"(?<![\w*+])\+?[0-9]{0,9}[ \-]{0,2}[*xX]{2,12}+[0-9*xX]{0,48}+(?:[ \-]{1,2}[0-9*xX]{1,48}+){0,4}(?![\w*])",
    re.ASCII,
)
"""It never steps back within a run of characters: there are thousands of ways to part one, and strangers choose it."""
_MASKS = frozenset("*xX")
_DIGITS = frozenset("0123456789")
_MOMENT = r"20[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])(?:[01][0-9]|2[0-3])[0-5][0-9][0-5][0-9]"
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_EXPONENT = re.compile(r"(?<![\w.])[0-9]+(?:\.[0-9]+)?[eE]\+?[0-9]{1,3}(?![\w.])")
_NOBODY = re.compile(r"\+?2540|0[0*]|0[0-9]{8}(?![0-9])")
_PERSON = re.compile(r'"(?:FirstName|MiddleName|LastName)"\s{0,20}:\s{0,20}"(?P<value>(?:[^"\\]|\\.)+)"')
_NUMBER = re.compile(
    r'(?:"PhoneNumber"\s{0,20},\s{0,20}"Value"|"MSISDN")\s{0,20}:\s{0,20}"?(?P<value>[0-9+*][0-9+*xX. \-]{2,40})'
    r'|"Value"\s{0,20}:\s{0,20}"?(?P<before>[0-9+*][0-9+*xX. \-]{2,40})"?\s{0,20},\s{0,20}'
    r'"Name"\s{0,20}:\s{0,20}"PhoneNumber"'
)  # fmt: skip


@dataclass(frozen=True)
class _Span:
    """Characters of a text, and what replaces them."""

    start: int
    end: int
    by: str


@dataclass(frozen=True)
class Redaction:
    """What is replaced, by what."""

    numbers: Mapping[str, str] = field(default_factory=dict)
    """The last nine digits of each number, and the nine that stand for them."""
    words: tuple[str, ...] = ()
    """Names and e-mail addresses."""
    whole_person: bool = False
    """The message is about this person only: whatever stands in a field for a name or a number goes."""

    def text(self, value: str) -> str:
        """Words or an id, without the person."""
        return _replaced(value, _disjoint(self._in(value)))

    def address(self, value: str) -> str:
        """What holds one e-mail address: it is the person's or it is not, however alike it looks."""
        theirs = value.lower() in {word.lower() for word in self.words}
        return ERASED_EMAIL if theirs else Redaction(self.numbers).text(value)

    def maybe(self, value: str | None) -> str | None:
        return None if value is None else self.text(value)

    def body(self, body: bytes) -> bytes:
        """A message, without the person; all else byte for byte. Whatever it says about the money stays."""
        text = body.decode("utf-8", "surrogateescape")
        spans = _disjoint(
            [*self._in(text), *self._escaped(text), *(self._of_the_person(text) if self.whole_person else ())]
        )
        if not spans:
            return body

        def as_bytes(kept: Iterable[_Span]) -> bytes:
            return _replaced(text, kept).encode("utf-8", "surrogateescape")

        if _money(as_bytes(spans)) == _money(body):
            return as_bytes(spans)
        return as_bytes([span for span in spans if _money(as_bytes([span])) == _money(body)])

    def shown(self, text: str) -> str:
        """A message for a person to read, without somebody else: nobody has to be able to parse it afterwards."""
        of_the_person = self._of_the_person(text) if self.whole_person else ()
        return _replaced(text, _disjoint([*self._in(text), *self._escaped(text), *of_the_person]))

    def _in(self, text: str) -> Iterator[_Span]:
        for number, by in self.numbers.items():
            for found in re.finditer(FILLING.join(number), text):
                if not _is_moment(text, found.start(), found.end()):
                    bare = _is_bare_number(text, found.start(), found.end())
                    yield _Span(found.start(), found.end(), ("254" if bare else "") + _like(found[0], by))
            for form, erased in _forms(number, by):
                digest = hashlib.sha256(form.encode()).hexdigest()
                for found in re.finditer(digest, text, re.IGNORECASE):
                    yield _Span(found.start(), found.end(), hashlib.sha256(erased.encode()).hexdigest())
            for found in _MASKED.finditer(text):
                masked = _masked_as(found[0], number, by)
                if masked is not None:
                    yield _Span(*found.span(), masked)
            for found in _EXPONENT.finditer(text):
                if float(found[0]) in (float(number), float("254" + number)):
                    yield _Span(found.start(), found.end(), "254" + by)
        for word in self.words:
            spaced = r"\s+".join(re.escape(part) for part in word.split())
            for found in re.finditer(whole_address(word) if "@" in word else rf"(?<!\w){spaced}(?!\w)", text, re.I):
                yield _Span(found.start(), found.end(), ERASED_EMAIL if "@" in word else ERASED)

    def _escaped(self, text: str) -> Iterator[_Span]:
        r"""Strings that spell the person with escapes, like "\u0037"."""
        for found in _STRING.finditer(text):
            if "\\" not in found[0]:
                continue
            try:
                value = json.loads(found[0], strict=False)
            except ValueError:
                continue
            if self.text(value) != value:
                yield _Span(found.start(), found.end(), json.dumps(self.text(value)))

    def _of_the_person(self, text: str) -> Iterator[_Span]:
        for found in _PERSON.finditer(text):
            yield _Span(*found.span("value"), ERASED)
        for found in _NUMBER.finditer(text):
            name = "value" if found["value"] is not None else "before"
            if self.text(found[name]) == found[name] and not _NOBODY.match(found[name]):
                yield _Span(*found.span(name), _blank(found[name]))


def whole_address(email: str) -> str:
    """A pattern, for Python and for PostgreSQL, of this address in a text: jane.doe@… and o'doe@… are not doe@….

    What often stands before an address, like = / | < and quotes, ends what comes before it, though an address may
    begin with it: 'doe@…' and rcpt=doe@… are hers.
    """
    address = re.escape(email)
    part_of_another = rf"(?<![\w.+-])(?<!\w[!$%^~])(?:(?<!\w')|(?={address}'))"
    return rf"{part_of_another}{address}(?![\w-]|\.\w)"


def numbers_told(body: bytes) -> set[str]:
    """The last nine digits of each number that a message gives as the payer's, as far as they are given."""
    text = body.decode("utf-8", "surrogateescape")
    told = [found["value"] or found["before"] for found in _NUMBER.finditer(text)]
    read = read_callback(body)
    if isinstance(read, CallbackSuccess) and read.phone:
        told.append(read.phone)
    return {number for each in told if (number := nine_digits(each)) is not None}


def nine_digits(text: str) -> str | None:
    """The part of a number that is the same in all its forms; None where these are not nine digits of a phone."""
    digits = re.sub(r"\.0+$", "", text.strip())
    found = re.fullmatch(r"(?:\+?254|0)?([17][0-9]{8})", re.sub(r"[ \-.()/]", "", digits), re.ASCII)
    return found[1] if found else None


def _money(body: bytes) -> object:
    """What a message says that may decide something, but for the ids, which change as the stored ones do."""
    told = read_callback(body)
    match told:
        case CallbackSuccess():
            said: object = (told.amount_kes, told.receipt, told.transaction_date, told.balance_kes)
        case CallbackFailure() | CallbackUnknownCode():
            said = told.code
        case _:
            said = None
    return type(told), said, receipts_seen(body)


def _replaced(text: str, spans: Iterable[_Span]) -> str:
    parts, at = [], 0
    for span in spans:
        parts += [text[at : span.start], span.by]
        at = span.end
    return "".join([*parts, text[at:]])


def _disjoint(spans: Iterable[_Span]) -> list[_Span]:
    """In order; of two that overlap the longer one."""
    kept: list[_Span] = []
    for span in sorted(spans, key=lambda one: one.start - one.end):
        if all(span.end <= other.start or span.start >= other.end for other in kept):
            kept.append(span)
    return sorted(kept, key=lambda one: one.start)


def _like(written: str, by: str) -> str:
    """Nine other digits, with the same filling between them."""
    digits = iter(by)
    return "".join(next(digits) if character.isdigit() else character for character in written)


def _forms(number: str, by: str) -> list[tuple[str, str]]:
    return [(prefix + number, prefix + by) for prefix in ("254", "+254", "0", "")]


def _masked_as(written: str, number: str, by: str) -> str | None:
    """The same mask over the other digits, where this is a mask over the number; else None."""
    bare = written.replace(" ", "").replace("-", "")
    hidden = [at for at, character in enumerate(bare) if character in _MASKS]
    head, tail = bare[: hidden[0]], bare[hidden[-1] + 1 :]
    for form, erased in _forms(number, by):
        if not 3 <= len(head) + len(tail) < len(form) or not (form.startswith(head) and form.endswith(tail)):
            continue
        digits = iter(erased[: len(head)] + erased[len(form) - len(tail) :])
        return "".join(next(digits) if character in _DIGITS or character == "+" else character for character in written)
    return None


def _is_moment(text: str, start: int, end: int) -> bool:
    """These digits are part of a date and time, like 20251003030427."""
    while text[start - 1 : start] in _DIGITS:
        start -= 1
    while text[end : end + 1] in _DIGITS:
        end += 1
    return end - start == 14 and re.fullmatch(_MOMENT, text[start:end]) is not None


def _is_bare_number(text: str, start: int, end: int) -> bool:
    """A JSON number of nine digits: with a leading zero it would be none any more."""
    return (
        text[start:end].isdigit()
        and text[:start].rstrip()[-1:] in (":", "[", ",")
        and not text[end : end + 1].isdigit()
    )


def _blank(value: str) -> str:
    """A number that nobody could place: three digits stay (a country), the others become 0."""
    digits = [at for at, character in enumerate(value) if character in _DIGITS]
    return "".join("0" if at in digits[3:] else character for at, character in enumerate(value))
