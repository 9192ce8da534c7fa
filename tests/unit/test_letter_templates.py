"""A shop's own templates: used where they are right, and never the reason that a letter does not come."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ops.letters import USUAL
from shared.language import LANGS
from shared.mail.letters import Kind, write
from shared.mail.mailer import Email
from shared.mail.templating import BUILT_IN, FILES, LONGEST, BrokenTemplate, Templates, shops_own
from shared.observability.safe_fields import is_safe

HTML = '{% extends "en/layout.html" %}\n'
TEXT = 'Subject: Asante!\n{% extends "en/layout.txt" %}\n'


class Shop:
    """A folder of templates, and what was told of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[tuple[str, str]] = []

    def has(self, name: str, content: str | bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        shops_own.cache_clear()

    def writes(self, kind: Kind = Kind.INVOICE) -> Email:
        return write(
            replace(USUAL, kind=kind), lambda template, where: self.told.append((template, where)), self.folder
        )


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "shop_templates")


@pytest.fixture(scope="module")
def built_in(tmp_path_factory: pytest.TempPathFactory) -> Email:
    return Shop(tmp_path_factory.mktemp("none")).writes()


# In place of the built-in ones ----------------------------------------------------------------------------------------


def test_a_shops_own_file_is_used_and_the_others_stay(shop: Shop, built_in: Email) -> None:
    shop.has("en/invoice.txt", TEXT + "{% block body %}Habari {{ customer_name }}, {{ amount }}!{% endblock %}")
    email = shop.writes()
    assert email.subject == "Asante!"
    assert email.text.startswith("Habari Wanjiru Example, KES 1,500!\n")
    assert "Questions? Answer this email" in email.text
    assert email.html == built_in.html.replace(f"<title>{built_in.subject}</title>", "<title>Asante!</title>")
    assert shop.told == []


def test_a_shops_own_layout_holds_for_all_its_letters(shop: Shop) -> None:
    shop.has("layout.html", "<html><body class=ours>{% block body %}{% endblock %}</body></html>")
    for kind in Kind:
        html = shop.writes(kind).html
        assert html.startswith("<html><body class=ours>")
        assert "Duka la Mfano" in html
    assert [where for _, where in shop.told if "missing" in where] == []


def test_a_copy_of_every_built_in_template_may_be_used(shop: Shop, built_in: Email) -> None:
    """What is told of a shop's templates holds for those it begins with."""
    shutil.copytree(BUILT_IN, shop.folder)
    assert {path.relative_to(BUILT_IN).as_posix() for path in BUILT_IN.rglob("*.*")} == FILES
    templates = Templates(shop.folder)
    for name in FILES:
        templates.check(name)
    assert shop.writes() == built_in
    assert shop.told == []


@pytest.mark.parametrize(
    "content",
    [
        TEXT.replace("\n", "\r\n") + "{% block body %}{{ amount }}{% endblock %}\r\n",
        "\ufeff" + TEXT + "{% block body %}{{ amount }}{% endblock %}",
        TEXT.replace("Subject: ", "subject:") + "{% block body %}{{ amount }}{% endblock %}",
    ],
    ids=["Windows lines", "byte order mark", "small letters"],
)
def test_files_of_any_editor_are_read(shop: Shop, content: str) -> None:
    shop.has("en/invoice.txt", content)
    email = shop.writes()
    assert (email.subject, email.text[:10]) == ("Asante!", "KES 1,500\n")
    assert shop.told == []


def test_what_a_shop_may_write(shop: Shop) -> None:
    shop.has(
        "en/invoice.html",
        HTML
        + """{% from "parts.html" import row %}


  {% set colour = "#123456" %}

{% macro big(text, size=20) %}<b style="font-size:{{ size }}px">{{ text }}</b>{% endmacro %}
{% block body %}{% if receipt and result_code in ("1", "1032") and not description %}{% else %}
{{ big("Asante " ~ customer_name, size=24) }} {{ colour }} {{ description|default("?")|upper|e }}
{{ "<" if amount else ">" }}{% endif %}{{ super() }}{% endblock %}""",
    )
    html = shop.writes().html
    assert '<b style="font-size:24px">Asante Wanjiru Example</b> #123456 TWO BASKETS &amp; A MAT' in html
    assert "&lt;" in html
    assert shop.told == []


# Errors ---------------------------------------------------------------------------------------------------------------

BODY = "{% block body %}\n"
END = "\n{% endblock %}"
WRONG: dict[str, tuple[str | bytes, str]] = {
    "unclosed": (HTML + "{% block body %}{{ amount", "line 2: a syntax error"),
    "unknown tag": (HTML + BODY + "{% fi amount %}" + END, "line 3: a syntax error"),
    "block left open": (HTML + "{% block body %}", "line 2: a syntax error"),
    "unknown name": (HTML + BODY + "\n{{ amuont }}" + END, "line 4: an unknown name"),
    "unknown name in a branch nobody takes": (
        HTML + BODY + "{% if not amount %}{{ amuont }}{% endif %}" + END,
        "line 3: an unknown name",
    ),
    "unknown block": (HTML + "{% block bdoy %}{{ amount }}{% endblock %}", "line 2: nobody would see this"),
    "outside every block": (HTML + "Hello\n{% block body %}{% endblock %}", "line 2: nobody would see this"),
    "a value outside every block": (HTML + "{{ amount }}", "line 2: nobody would see this"),
    "unknown filter": (HTML + BODY + "{{ amount|money }}" + END, "line 3: not part of the language of letters"),
    "unescaped": (HTML + BODY + "{{ customer_name|safe }}" + END, "line 3: not part of the language of letters"),
    "unescaped block": (
        HTML + BODY + "{% autoescape false %}{{ customer_name }}{% endautoescape %}" + END,
        "line 3: not part of the language of letters",
    ),
    "attribute": (
        HTML + BODY + "{{ ''.__class__.__mro__[1].__subclasses__() }}" + END,
        "line 3: not part of the language of letters",
    ),
    "item": (HTML + BODY + "{{ amount['__class__'] }}" + END, "line 3: not part of the language of letters"),
    "reach through a filter": (
        HTML + BODY + "{{ amount|attr('__class__') }}" + END,
        "line 3: not part of the language of letters",
    ),
    "reach through self": (HTML + BODY + "{{ self.body() }}" + END, "line 3: not part of the language of letters"),
    "a call of a value": (HTML + BODY + "{{ amount() }}" + END, "line 3: it cannot be filled in"),
    "endless loop": (
        HTML + BODY + "{% for a in range(10**9) %}x{% endfor %}" + END,
        "line 3: not part of the language of letters",
    ),
    "endless recursion": (
        HTML + "{% macro m() %}{{ m() }}{% endmacro %}{% block body %}{{ m() }}{% endblock %}",
        "line 2: not part of the language of letters",
    ),
    "extends itself": ('{% extends "en/invoice.html" %}', "line 1: it cannot be filled in"),
    "huge text": (HTML + BODY + "{{ 'x' * 10**9 }}" + END, "line 3: not part of the language of letters"),
    "huge number": (HTML + BODY + "{{ 9**9**9 }}" + END, "line 3: not part of the language of letters"),
    "twice as long at every call": (
        HTML + "{% macro m(a) %}{{ a }}{{ a }}{% endmacro %}{% block body %}{{ m(m(m(m('x')))) }}{% endblock %}",
        "line 2: not part of the language of letters",
    ),
    "twice as long at every set": (
        HTML + "{% set a = 'x' %}{% set a = a ~ a %}{% block body %}{{ a }}{% endblock %}",
        "line 2: not part of the language of letters",
    ),
    "a macro that repeats itself": (
        HTML + "{% macro m(a) %}" + "{{ a }}" * 51 + "{% endmacro %}{% block body %}{{ m('x') }}{% endblock %}",
        "line 2: not part of the language of letters",
    ),
    "ten times as long at every set": (
        HTML
        + "{% set a0 = 'x' %}" + "".join(f"{{% set a{n + 1} = [{f'a{n},' * 10}] %}}" for n in range(9))
        + "{% block body %}{{ a9 }}{% endblock %}",
        "line 2: not part of the language of letters",
    ),
    "ten times as long at every default": (
        HTML
        + "{% macro m(a0='x'" + "".join(f", a{n + 1}={'~'.join([f'a{n}'] * 10)}" for n in range(9))
        + ") %}{{ a9 }}{% endmacro %}{% block body %}{{ m() }}{% endblock %}",
        "line 2: not part of the language of letters",
    ),
    "a long text, thousands of times in one value": (
        HTML + BODY + "{% set a = '" + "x" * 50_000 + "' %}{{ " + "~".join(["a"] * 20_000) + " }}" + END,
        "line 3: not part of the language of letters",
    ),
    "a long text, thousands of times in one list": (
        HTML + BODY + "{% set a = '" + "x" * 50_000 + "' %}{{ [" + "a," * 20_000 + "] }}" + END,
        "line 3: not part of the language of letters",
    ),
    "a long text, thousands of times in one call": (
        HTML
        + "{% macro m() %}{{ varargs }}{% endmacro %}"
        + BODY + "{% set a = '" + "x" * 50_000 + "' %}{{ m(" + "a," * 20_000 + ") }}" + END,
        "line 3: not part of the language of letters",
    ),
    "a text that grows at every filter": (
        HTML + BODY + "{% set a = '" + "%" * 50_000 + "' %}{{ a" + "|urlencode" * 200 + " }}" + END,
        "line 3: not part of the language of letters",
    ),
    "the text as a layout, which escapes nothing": (
        "{% extends 'en/invoice.txt' %}",
        "line 1: not part of the language of letters",
    ),
    "a macro of the text, which escapes nothing": (
        "{% from 'en/layout.txt' import m %}<p>{{ m(customer_name) }}</p>",
        "line 1: not part of the language of letters",
    ),
    "another file": (HTML + BODY + "{% include '/etc/passwd' %}" + END, "line 3: not part of the language of letters"),
    "another layout": ("{% extends '../../secrets.html' %}", "line 1: not part of the language of letters"),
    "a layout by a value": ("{% extends customer_name %}", "line 1: not part of the language of letters"),
    "too long a letter": (
        HTML
        + "{% macro m() %}" + "x" * 1000 + "{% endmacro %}{% block body %}" + "{{ m() }}" * 101 + "{% endblock %}",
        "what it writes is too long",
    ),
    "too large a file": (HTML + BODY + "x" * LONGEST + END, "the file is too large"),
    "Latin-1": ((HTML + BODY + "Wanjir\u00fa" + END).encode("latin-1"), "line 3: not UTF-8"),
    "UTF-16": ((HTML + BODY + END).encode("utf-16"), "line 1: not UTF-8"),
    "empty": ("", "nothing in it"),
    "only markup": ("<html><body><table></table></body></html>", "nothing in it"),
    "deep brackets": (HTML + BODY + "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}" + END, "it cannot be filled in"),
}  # fmt: skip
WRONG_TEXT: dict[str, tuple[str, str]] = {
    "no subject": ("Asante!\n", "line 1: no subject"),
    "an empty subject": ("Subject:   \n{{ amount }}", "line 1: an empty subject"),
    "a subject of spaces": ("Subject: {{ '\t' }} \n{{ amount }}", "line 1: an empty subject"),
    "an unknown name in the subject": ("Subject: {{ amuont }}\n{{ amount }}", "line 1: an unknown name"),
    "a subject that quotes itself": ("Subject: {{ subject }}\n{{ amount }}", "line 1: an unknown name"),
    "nothing but a subject": ("Subject: Asante!", "nothing in it"),
    "nothing at all": ("", "line 1: no subject"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_page_with_an_error_stops_no_letter_and_is_told(shop: Shop, built_in: Email, name: str) -> None:
    content, where = WRONG[name]
    shop.has("en/invoice.html", content)
    began = time.monotonic()
    assert shop.writes() == built_in
    assert shop.told == [("en/invoice.html", where)]
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("name", WRONG_TEXT)
def test_a_text_with_an_error_stops_no_letter_and_is_told(shop: Shop, built_in: Email, name: str) -> None:
    content, where = WRONG_TEXT[name]
    shop.has("en/invoice.txt", content)
    assert shop.writes() == built_in
    assert shop.told == [("en/invoice.txt", where)]


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (HTML + "{% block bdoy %}{% endblock %}", "the layout has no block 'bdoy', but: badge, body, footer, legal, "),
        (HTML + "Hello", "it stands outside every block"),
        (HTML + BODY + "{% for a in amount %}{% endfor %}" + END, "a loop cannot be used in a letter"),
        (HTML + BODY + "{{ amount.x }}" + END, "a dot cannot be used in a letter"),
        (HTML + BODY + "{{ amount[0] }}" + END, "a bracket cannot be used in a letter"),
        (HTML + BODY + "{% include 'parts.html' %}" + END, "an include cannot be used in a letter"),
        (HTML + BODY + "{{ 1 + 1 }}" + END, "this (Add) cannot be used in a letter"),
        (HTML + BODY + "{{ amount|money }}" + END, "the filter 'money'; there are: capitalize, default"),
        (HTML + BODY + "{% if amount is odd %}{% endif %}" + END, "the test 'odd'; there are: defined, none"),
        (HTML + BODY + "{{ amuont }}" + END, "there is no 'amuont'"),
        ("{% extends 'x.html' %}", "another file than these: en/failed.html"),
    ],
)
def test_whoever_wrote_it_is_told_what_is_wrong(shop: Shop, content: str, detail: str) -> None:
    shop.has("en/invoice.html", content)
    with pytest.raises(BrokenTemplate) as broken:
        Templates(shop.folder, BUILT_IN).check("en/invoice.html")
    assert detail in broken.value.detail


def test_what_is_told_may_stand_in_the_log(shop: Shop) -> None:
    for content, _ in WRONG.values():
        shop.has("en/invoice.html", content)
        shop.writes()
    for content, _ in WRONG_TEXT.values():
        shop.has("en/invoice.html", HTML)
        shop.has("en/invoice.txt", content)
        shop.writes()
    assert len(shop.told) == len(WRONG) + len(WRONG_TEXT)
    for template, where in shop.told:
        assert is_safe("template", template)
        assert is_safe("broken_at", where)


def test_every_template_has_a_name_that_may_stand_in_the_log() -> None:
    assert [name for name in FILES if not is_safe("template", name)] == []


def test_the_layout_that_breaks_a_letter_is_the_one_that_is_told(shop: Shop, built_in: Email) -> None:
    shop.has("en/layout.html", '{% extends "layout.html" %}\n{% block footer %}{{ adress }}{% endblock %}')
    assert shop.writes() == built_in
    assert shop.told == [("en/layout.html", "line 2: an unknown name")]


def test_an_error_in_one_letter_is_none_in_another(shop: Shop) -> None:
    shop.has("en/invoice.html", "{{")
    shop.has("en/failed.txt", TEXT + "{% block body %}Pole!{% endblock %}")
    assert shop.writes(Kind.FAILED).text.startswith("Pole!")
    assert shop.told == []


@pytest.mark.parametrize("what", ["a folder", "a link that leads nowhere", "a link to elsewhere", "a pipe"])
def test_what_is_no_file_of_the_folder_is_not_read(shop: Shop, built_in: Email, tmp_path: Path, what: str) -> None:
    path = shop.folder / "en" / "invoice.html"
    path.parent.mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    match what:
        case "a folder":
            path.mkdir()
        case "a link that leads nowhere":
            path.symlink_to(elsewhere)
        case "a link to elsewhere":
            elsewhere.write_text("<p>a secret of this machine</p>")
            path.symlink_to(elsewhere)
        case "a pipe":
            os.mkfifo(path)
    assert shop.writes() == built_in
    assert shop.told == [("en/invoice.html", "it is no file of this folder")]


def test_a_value_that_looks_like_a_template_is_none(shop: Shop) -> None:
    shop.has("en/invoice.txt", TEXT + "{% block body %}{{ customer_name }}{% endblock %}")
    letter = replace(USUAL, customer_name="{{ shop_tax_pin }}{% block body %}")
    assert "{{ shop_tax_pin }}{% block body %}" in write(letter, lambda *_: pytest.fail("broken"), shop.folder).text


def test_a_missing_template_is_said() -> None:
    with pytest.raises(BrokenTemplate, match="it is missing"):
        Templates(Path("no-such-folder")).write("invoice", "en", {})


def test_there_is_a_template_for_every_kind_and_language() -> None:
    for kind in Kind:
        for lang in LANGS:
            assert {f"{lang}/{kind}.txt", f"{lang}/{kind}.html"} <= FILES
