"""`python -m ops letters`: see them, make them the shop's own, check them; with no database and no network."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.__main__ import main
from ops.letters import look_at, run, samples
from ops.letters_page import MOST_AT_ONCE, LettersPage
from ops.session import NotPossible
from shared.language import LANGS
from shared.mail.letters import Kind

SHOP = {
    "SHOP_NAME": "Soko la Mfano",
    "SHOP_ADDRESS": "Kisumu",
    "SHOP_KRA_PIN": "P051234567X",
    "INVOICE_EMAIL_REPLY_TO": "habari@soko.example",
}


class Visitor:
    """Somebody with a browser, at the page of the letters."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.folder = folder
        self.page = LettersPage(folder, samples(environ), port=0)
        self.port = int(self.page.address.rstrip("/").rpartition(":")[2])
        self.headers: dict[str, str] = {}
        self._serving = threading.Thread(target=self.page.serve)
        self._serving.start()

    def opens(self, target: str, host: str | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.putrequest("GET", target, skip_host=True)
        connection.putheader("Host", host or f"127.0.0.1:{self.port}")
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read().decode()
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        connection.close()
        return answer.status, body

    def has(self, name: str, content: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")

    def leaves(self) -> None:
        self.page.close()
        self._serving.join(10)


@pytest.fixture
def visitor(tmp_path: Path) -> Iterator[Visitor]:
    visiting = Visitor(tmp_path / "shop_templates", SHOP)
    yield visiting
    visiting.leaves()


def ops(folder: Path, *arguments: str) -> int:
    """The command, on another folder than the real one."""
    import argparse

    from ops.letters import add_commands

    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers(dest="command"))
    return run(parser.parse_args(["letters", *arguments]), {}, folder)


# Seeing them ----------------------------------------------------------------------------------------------------------


def test_every_letter_is_on_the_page_in_both_languages(visitor: Visitor) -> None:
    status, page = visitor.opens("/")
    assert status == 200
    for kind in Kind:
        for lang in LANGS:
            for form in ("html", "txt"):
                target = f"/letter?kind={kind}&lang={lang}&form={form}&sample=usual"
                assert target.replace("&", "&amp;") in page
                status, letter = visitor.opens(target)
                assert status == 200
                assert all(value in letter for value in SHOP.values())
                assert visitor.headers["content-type"] == f"text/{'html' if form == 'html' else 'plain'}; charset=utf-8"
                assert visitor.headers["content-security-policy"].startswith("sandbox; default-src 'none'")


def test_a_reload_shows_an_edit(visitor: Visitor) -> None:
    target = "/letter?kind=failed&lang=sw&form=txt"
    assert "hayakufaulu" in visitor.opens(target)[1]
    visitor.has("sw/failed.txt", "Subject: Pole\n{{ amount }} pole sana")
    assert visitor.opens(target) == (200, "KES 1,500 pole sana\n")
    assert "sw/failed.txt" in visitor.opens("/")[1]


def test_an_error_is_said_on_the_page_and_the_letter_that_is_sent_is_shown(visitor: Visitor) -> None:
    visitor.has("sw/failed.txt", "Subject: Pole\n\n{{ <script>amuont }}")
    status, page = visitor.opens("/")
    assert status == 200
    assert "sw/failed.txt, line 3: a syntax error" in page
    assert "Customers get the built-in letter" in page
    assert "<script>" not in page
    assert "hayakufaulu" in visitor.opens("/letter?kind=failed&lang=sw&form=txt")[1]


@pytest.mark.parametrize("sample", ["sparse", "long", "hostile"])
@pytest.mark.parametrize("width", ["phone", "desk"])
def test_other_samples_and_widths(visitor: Visitor, sample: str, width: str) -> None:
    status, page = visitor.opens(f"/?sample={sample}&width={width}")
    assert status == 200
    assert f"<strong>{sample}</strong>" in page
    assert "<b>" not in page


@pytest.mark.parametrize(
    "target",
    [
        "/letter",
        "/letter?kind=invoice&lang=en",
        "/letter?kind=../../../etc/passwd&lang=en&form=html",
        "/letter?kind=invoice&lang=../en&form=html",
        "/letter?kind=layout&lang=en&form=html",
        "/letter?kind=invoice&lang=en&form=py",
        "/?sample=../../secret",
        "/?width=9999",
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/shared/settings.py",
        "/.env",
        "//etc/passwd",
        "/etc/passwd",
        "/letter/../../etc/passwd?kind=invoice&lang=en&form=html",
        "http://[",
        "/?" + "&".join(f"a{number}=1" for number in range(50)),
    ],
)
def test_nothing_but_the_letters_can_be_read(visitor: Visitor, target: str) -> None:
    status, body = visitor.opens(target)
    assert (status, body) == (404, "There is no such letter.\n")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "evil.example:8891"])
def test_the_page_answers_to_its_own_name_only(visitor: Visitor, host: str) -> None:
    """A page on the internet may point its own name at this machine."""
    assert visitor.opens("/", host)[0] == 403
    assert visitor.opens("/", f"localhost:{visitor.port}")[0] == 200


def test_it_listens_on_this_machine_alone(visitor: Visitor) -> None:
    assert visitor.page.address == f"http://127.0.0.1:{visitor.port}/"
    with pytest.raises(OSError, match=r"refused|unreachable"):
        socket.create_connection(("127.0.0.2", visitor.port), timeout=2)


def test_visitors_who_say_nothing_hold_nobody_up(visitor: Visitor) -> None:
    silent = [socket.create_connection(("127.0.0.1", visitor.port)) for _ in range(MOST_AT_ONCE - 1)]
    assert visitor.opens("/")[0] == 200
    for each in silent:
        each.close()


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(NotPossible, match="choose another with --port"),
    ):
        ops(tmp_path, "show", "--port", str(taken.getsockname()[1]))


# Making them the shop's own -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "made"),
    [
        (["invoice", "sw"], ["sw/invoice.html", "sw/invoice.txt"]),
        (["failed"], ["en/failed.html", "en/failed.txt", "sw/failed.html", "sw/failed.txt"]),
        (["layout"], ["layout.html"]),
        (["layout", "en"], ["en/layout.html", "en/layout.txt"]),
        (["parts"], ["parts.html"]),
    ],
    ids=" ".join,
)
def test_edit_copies_a_letter_once(
    tmp_path: Path, arguments: list[str], made: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ops(tmp_path, "edit", *arguments) == 0
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")) == made
    assert all(name in capsys.readouterr().out for name in made[:1])
    assert ops(tmp_path, "check") == 0
    (tmp_path / made[0]).write_text("mine", encoding="utf-8")
    with pytest.raises(NotPossible, match="already in"):
        ops(tmp_path, "edit", *arguments)
    assert (tmp_path / made[0]).read_text("utf-8") == "mine"


# Checking them --------------------------------------------------------------------------------------------------------


def test_check_finds_nothing_wrong_where_nothing_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "README.md").write_text("# Ours", encoding="utf-8")
    assert ops(tmp_path, "check") == 0
    assert ops(tmp_path / "no-such-folder", "check") == 0
    assert "0 things wrong" in capsys.readouterr().out


def test_check_names_file_line_and_problem_of_all_that_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sw").mkdir()
    (tmp_path / "sw" / "failed.txt").write_text("Subject: Pole\n\n{{ amuont }}", encoding="utf-8")
    (tmp_path / "sw" / "failed.html").write_text("{% if %}", encoding="utf-8")
    (tmp_path / "sw" / "invioce.html").write_text("{{ amount }}", encoding="utf-8")
    assert ops(tmp_path, "check") == 1
    told = capsys.readouterr().out
    assert "sw/failed.txt:3: an unknown name (there is no 'amuont'" in told
    assert "sw/failed.html:1: a syntax error (Expected an expression" in told
    assert "sw/invioce.html: no letter has such a file" in told
    assert "2 templates of the shop's own" in told
    assert "3 things wrong" in told


def test_check_finds_what_breaks_only_when_a_letter_is_written(tmp_path: Path) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "failed.txt").write_text(
        "Subject: {% if may_still_arrive %}Wait{% endif %}\n{{ amount }}", encoding="utf-8"
    )
    assert [str(found) for found in look_at(tmp_path, {}) if found.wrong] == ["en/failed.txt:1: an empty subject"]


def test_check_notes_what_a_letter_no_longer_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "invoice.txt").write_text("Subject: Asante\n{{ amount }} {{ reference }}", encoding="utf-8")
    assert ops(tmp_path, "check") == 0
    assert "en/invoice.txt: it does not say: date, transaction_id, invoice_number, receipt (a note" in (
        capsys.readouterr().out
    )


def test_no_database_is_needed_and_a_wrong_setting_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["letters", "check"], {}) == 0
    assert main(["letters", "check"], {"SHOP_NAME": "two\nlines", "DATABASE_URL": "nonsense"}) in (0, 2)
    assert main(["letters", "show"], {"SHOP_NAME": "two\nlines"}) == 2
    assert "SHOP_NAME" in capsys.readouterr().err
