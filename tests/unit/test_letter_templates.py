"""A shop's own templates: used where they are right, and never the reason that a letter does not come."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ops.letters import USUAL, look_at
from shared.mail.letters import Kind, write
from shared.mail.mailer import Email
from shared.mail.templating import BUILT_IN, FILES, LONGEST, BrokenTemplate, Templates, shops_own
from shared.observability.log import is_safe
from shared.values import LANGS

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
    shutil.copytree(BUILT_IN, shop.folder)
    assert shop.writes() == built_in
    assert shop.told == []
    assert look_at(shop.folder, {}) == []


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
    assert '<b style="font-size:24px">Asante Wanjiru Example</b> #123456 FOR THE KITCHEN' in html
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
    "unknown filter": (HTML + BODY + "{{ amount|money }}" + END, "line 3: a syntax error"),
    "unescaped": (HTML + BODY + "{{ customer_name|safe }}" + END, "line 3: a syntax error"),
    "unescaped block": (
        HTML + BODY + "{% autoescape false %}{{ customer_name }}{% endautoescape %}" + END,
        "line 3: escaping cannot be switched",
    ),
    "unescaped block, spread over lines": (
        HTML + "{% block body %}{%-\n autoescape false %}{{ customer_name }}{% endautoescape %}" + END,
        "line 2: escaping cannot be switched",
    ),
    "attribute": (
        HTML + BODY + "{{ ''.__class__.__mro__[1].__subclasses__() }}" + END, "line 3: it cannot be filled in",
    ),
    "method": (HTML + BODY + "{{ 'x'.ljust(10**9) }}" + END, "line 3: it cannot be filled in"),
    "item": (HTML + BODY + "{{ amount['__class__'] }}" + END, "line 3: it cannot be filled in"),
    "reach through a filter": (HTML + BODY + "{{ amount|attr('__class__') }}" + END, "line 3: a syntax error"),
    "a call of a value": (HTML + BODY + "{{ amount() }}" + END, "line 3: it cannot be filled in"),
    "endless loop": (HTML + BODY + "{% for a in range(10**9) %}x{% endfor %}" + END, "line 3: it cannot be filled in"),
    "endless recursion": (
        HTML + "{% macro m() %}{{ m() }}{% endmacro %}{% block body %}{{ m() }}{% endblock %}",
        "line 2: it cannot be filled in",
    ),
    "extends itself": ('{% extends "en/invoice.html" %}', "line 1: it cannot be filled in"),
    "huge text": (HTML + BODY + "{{ 'x' * 10**9 }}" + END, "line 3: it cannot be filled in"),
    "huge number": (HTML + BODY + "{{ 9**9**9 }}" + END, "line 3: it cannot be filled in"),
    "huge padding": (HTML + BODY + "{{ '%1000000000d' % 1 }}" + END, "line 3: it cannot be filled in"),
    "another file": (HTML + BODY + "{% include '/etc/passwd' %}" + END, "line 3: it cannot be filled in"),
    "another layout": ("{% extends '../../secrets.html' %}", "line 1: it cannot be filled in"),
    "a layout by a value": ("{% extends customer_name %}", "line 1: it cannot be filled in"),
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
def test_an_html_with_an_error_stops_no_letter_and_is_reported(shop: Shop, built_in: Email, name: str) -> None:
    content, where = WRONG[name]
    shop.has("en/invoice.html", content)
    began = time.monotonic()
    assert shop.writes() == built_in
    assert shop.told == [("en/invoice.html", where)]
    assert time.monotonic() - began < 5


def test_a_block_that_shows_itself_stops_no_letter(shop: Shop, built_in: Email) -> None:
    """Which line the endless recursion ends in depends on how deep the stack was."""
    shop.has("en/invoice.html", HTML + BODY + "{{ self.body() }}" + END)
    assert shop.writes() == built_in
    assert shop.told in [[("en/invoice.html", f"line {line}: it cannot be filled in")] for line in (2, 3)]


@pytest.mark.parametrize("name", WRONG_TEXT)
def test_a_text_with_an_error_stops_no_letter_and_is_reported(shop: Shop, built_in: Email, name: str) -> None:
    content, where = WRONG_TEXT[name]
    shop.has("en/invoice.txt", content)
    assert shop.writes() == built_in
    assert shop.told == [("en/invoice.txt", where)]


NEVER_TAKEN = "{% if not amount %}{{ amuont }}{% endif %}"
FOUND_BY_CHECK = [
    ("en/layout.html", "{{ amuont }}", ":1: an unknown name"),
    ("en/invoice.txt", TEXT + "{% block bdoy %}{% endblock %}", ":3: never shown"),
    *(
        ("en/invoice.html", HTML + content, found)
        for content, found in (
            ("{% block bdoy %}{% endblock %}", ":2: never shown (no layout has a block 'bdoy', but: badge, "),
            ("Hello", ":2: never shown (it stands outside every block)"),
            ("\n{{ amount }}", ":3: never shown (it stands outside every block)"),
            (BODY + NEVER_TAKEN + END, ":3: an unknown name (there is no 'amuont'"),
            (BODY + "{{ amount|money }}" + END, ":3: a syntax error (No filter named 'money'.)"),
            (BODY + "{{ amount is strange }}" + END, ":3: a syntax error (No test named 'strange'.)"),
            (BODY + "{% include '/etc/passwd' %}" + END, ":3: it cannot be filled in (/etc/passwd)"),
            (BODY + "{{ 2 * 2 }}" + END, ":3: it cannot be filled in (* cannot be used in a letter)"),
            (BODY + "{% autoescape false %}{% endautoescape %}" + END, ":3: escaping cannot be switched"),
        )
    ),
    *(
        ("en/invoice.txt", first_line + "\n{{ amount }}", found)
        for first_line, found in (
            ("Subject: {{ amuont }}", ":1: an unknown name (there is no 'amuont'"),
            ("Subject: " + NEVER_TAKEN + "a", ":1: an unknown name (there is no 'amuont'"),
            ("Subject: {{ subject }}", ":1: an unknown name (there is no 'subject'"),
            ("Subject: {{ amount|uper }}", ":1: a syntax error (No filter named 'uper'.)"),
            ("Subject: {{ amount }", ":1: a syntax error"),
            ("Subject: { amount }", ":1: a single brace in the subject"),
            ("Subject: { amount }}", ":1: a single brace in the subject"),
            ("Subjct: Asante", ":1: no subject (the first line must be"),
        )
    ),
]


@pytest.mark.parametrize(("name", "content", "found"), FOUND_BY_CHECK)
def test_check_finds_an_error_by_file_and_line(shop: Shop, name: str, content: str, found: str) -> None:
    shop.has(name, content)
    errors = [str(each) for each in look_at(shop.folder, {}) if each.is_error]
    assert [error for error in errors if error.startswith(name + found)], errors


def test_html_is_escaped_also_by_a_layout_or_macro_of_a_text(shop: Shop) -> None:
    shop.has("sw/invoice.txt", "Subject: Asante\n{{ customer_name }}")
    shop.has("sw/failed.txt", "Subject: Pole\n{% macro m(a) %}{{ a }}{% endmacro %}")
    for content in ('{% extends "sw/invoice.txt" %}', '{% from "sw/failed.txt" import m %}{{ m(customer_name) }}'):
        shop.has("en/invoice.html", content)
        letter = replace(USUAL, customer_name="<b>Wanjiru</b>")
        html = write(letter, lambda *_: pytest.fail("broken"), shop.folder).html
        assert "&lt;b&gt;Wanjiru" in html
        assert "<b>" not in html


def test_what_is_reported_may_be_logged(shop: Shop) -> None:
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


def test_the_layout_that_breaks_a_letter_is_the_file_that_is_reported(shop: Shop, built_in: Email) -> None:
    shop.has("en/layout.html", '{% extends "layout.html" %}\n{% block footer %}{{ adress }}{% endblock %}')
    assert shop.writes() == built_in
    assert shop.told == [("en/layout.html", "line 2: an unknown name")]


def test_an_error_in_one_letter_is_none_in_another(shop: Shop) -> None:
    shop.has("en/invoice.html", "{{")
    shop.has("en/failed.txt", TEXT + "{% block body %}Pole!{% endblock %}")
    assert shop.writes(Kind.FAILED).text.startswith("Pole!")
    assert shop.told == []


@pytest.mark.parametrize("what", ["a folder", "a link that leads nowhere", "a pipe"])
def test_what_is_no_file_is_not_read(shop: Shop, built_in: Email, tmp_path: Path, what: str) -> None:
    path = shop.folder / "en" / "invoice.html"
    path.parent.mkdir(parents=True)
    match what:
        case "a folder":
            path.mkdir()
        case "a link that leads nowhere":
            path.symlink_to(tmp_path / "elsewhere")
        case "a pipe":
            os.mkfifo(path)
    assert shop.writes() == built_in
    assert shop.told == []


def test_a_value_that_looks_like_a_template_is_none(shop: Shop) -> None:
    shop.has("en/invoice.txt", TEXT + "{% block body %}{{ customer_name }}{% endblock %}")
    letter = replace(USUAL, customer_name="{{ shop_tax_pin }}{% block body %}")
    assert "{{ shop_tax_pin }}{% block body %}" in write(letter, lambda *_: pytest.fail("broken"), shop.folder).text


def test_a_missing_template_is_said() -> None:
    with pytest.raises(BrokenTemplate, match="it cannot be filled in"):
        Templates(Path("no-such-folder")).write("invoice", "en", {})


def test_there_is_a_template_for_every_kind_and_language() -> None:
    for kind in Kind:
        for lang in LANGS:
            assert {f"{lang}/{kind}.txt", f"{lang}/{kind}.html"} <= FILES
