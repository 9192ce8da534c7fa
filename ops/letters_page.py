"""The page of `ops letters show`: every letter, in both languages, as customers get it, from the files as they are now.

It answers on 127.0.0.1 only, to its own name only, and only for the letters there are: no address names a file.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from shared.language import LANGS, Lang
from shared.mail.letters import Kind, Letter, values
from shared.mail.templating import BUILT_IN, BrokenTemplate, Templates, Written, built_in, own_files

USUAL_PORT = 8891
WIDTHS = {"phone": 360, "desk": 640}
LANGUAGES = {"en": "English", "sw": "Swahili"}
FORMS = {"html": "text/html", "txt": "text/plain"}
MOST_AT_ONCE = 16
A_REQUEST_S = 10
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
LETTER_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src https: data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'"
)
STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0 auto; padding: 16px 24px 64px; max-width: 1360px; }
nav a, nav strong { margin-right: 12px; }
section { margin-top: 40px; }
.pair { display: flex; flex-wrap: wrap; gap: 24px; }
.pair > div { min-width: 0; max-width: 100%; }
iframe { display: block; max-width: 100%; border: 1px solid #8a958f; border-radius: 6px; background: #fff; }
pre { overflow: auto; padding: 12px; border: 1px solid #8a958f; border-radius: 6px; white-space: pre-wrap; }
.wrong { border-left: 6px solid #b3261e; padding: 8px 14px; background: #fbe3e0; color: #4c100b; }
.files { font-size: 14px; }
"""


class LettersPage:
    """Served until Ctrl-C, or `close`. Raises OSError where the port is taken."""

    def __init__(self, folder: Path, samples: Mapping[str, Letter], port: int | None = None) -> None:
        self._folder = folder
        self._samples = samples
        self._server = self._listening(port)
        self.address = f"http://127.0.0.1:{self._server.server_port}/"

    def serve(self) -> None:
        try:
            self._server.serve_forever(poll_interval=0.05)
        except KeyboardInterrupt:
            pass
        finally:
            self._server.server_close()

    def close(self) -> None:
        self._server.shutdown()

    def answer(self, target: str) -> tuple[int, str, str, str] | None:
        """Status, content type, policy and body for an address; None: there is no such page."""
        try:
            where = urlsplit(target)
            asked = dict(parse_qsl(where.query, max_num_fields=8))
        except ValueError:
            return None
        sample = asked.get("sample", "usual")
        width = asked.get("width", "phone")
        if sample not in self._samples or width not in WIDTHS:
            return None
        if where.path == "/":
            return 200, "text/html", PAGE_POLICY, self._index(sample, width)
        kind = next((each for each in Kind if each == asked.get("kind")), None)
        lang = next((each for each in LANGS if each == asked.get("lang")), None)
        form = asked.get("form")
        if where.path != "/letter" or kind is None or lang is None or form not in FORMS:
            return None
        letter, _ = self._written(Templates(self._folder, BUILT_IN), kind, lang, sample)
        body = letter.html if form == "html" else letter.text
        return 200, FORMS[form], LETTER_POLICY, body

    def _written(
        self, templates: Templates, kind: Kind, lang: Lang, sample: str
    ) -> tuple[Written, BrokenTemplate | None]:
        """What a customer gets, and why it is not the shop's own."""
        said = values(replace(self._samples[sample], kind=kind, lang=lang))
        try:
            return templates.write(kind, lang, said), None
        except BrokenTemplate as broken:
            return built_in().write(kind, lang, said), broken

    def _index(self, sample: str, width: str) -> str:
        own = own_files(self._folder)
        templates = Templates(self._folder, BUILT_IN)
        sections = "".join(
            f"<section><h2>{kind}</h2><div class=pair>"
            + "".join(
                self._one(self._written(templates, kind, lang, sample), kind, lang, sample, width, own)
                for lang in LANGS
            )
            + "</div></section>"
            for kind in Kind
        )
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Letters to customers</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<style>{STYLE}</style></head><body><h1>Letters to customers</h1>"
            f"<nav>Sample: {_links(self._samples, sample, 'sample', width=width)}</nav>"
            f"<nav>Width: {_links(WIDTHS, width, 'width', sample=sample)}</nav>"
            f"<p>Your own templates: {escape(', '.join(own)) or 'none'}. Make one with "
            f"<code>python -m ops letters edit KIND LANG</code>, change it, and reload this page.</p>{sections}"
            "</body></html>"
        )

    def _one(
        self,
        shown: tuple[Written, BrokenTemplate | None],
        kind: Kind,
        lang: Lang,
        sample: str,
        width: str,
        own: list[str],
    ) -> str:
        letter, broken = shown
        at = {
            form: "/letter?" + urlencode({"kind": kind, "lang": lang, "form": form, "sample": sample}) for form in FORMS
        }
        mine = [name for name in own if name.startswith(f"{lang}/{kind}.")]
        complaint = (
            f"<p class=wrong>{escape(broken.template)}, {escape(broken.where)}<br>{escape(broken.detail)}<br>"
            "Customers get the built-in letter, which is shown here.</p>"
            if broken
            else ""
        )
        return (
            f'<div style="width:{WIDTHS[width]}px"><h3>{LANGUAGES[lang]}</h3>{complaint}'
            f"<p><strong>{escape(letter.subject)}</strong></p>"
            f'<iframe sandbox title="{kind} {lang}" width="{WIDTHS[width]}" height="640" src="{escape(at["html"])}">'
            f"</iframe><p class=files>{escape(', '.join(mine)) or 'built in'} · "
            f'<a href="{escape(at["html"])}">alone</a> · <a href="{escape(at["txt"])}">as text</a></p>'
            f"<details><summary>Text</summary><pre>{escape(letter.text)}</pre></details></div>"
        )

    def _listening(self, port: int | None) -> _Server:
        if port is not None:
            return _Server(port, self)
        try:
            return _Server(USUAL_PORT, self)
        except OSError:
            return _Server(0, self)


def _links(names: Mapping[str, object], chosen: str, field: str, **others: str) -> str:
    return "".join(
        f"<strong>{name}</strong>"
        if name == chosen
        else f'<a href="/?{escape(urlencode({field: name, **others}))}">{name}</a>'
        for name in names
    )


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, page: LettersPage) -> None:
        self.page = page
        self._slots = threading.BoundedSemaphore(MOST_AT_ONCE)
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._slots.acquire(timeout=A_REQUEST_S):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = A_REQUEST_S
    server_version = "Lipa"
    sys_version = ""

    def do_GET(self) -> None:
        port = self.server.server_port
        if self.headers.get("Host") not in (f"127.0.0.1:{port}", f"localhost:{port}"):
            self._send(403, "text/plain", PAGE_POLICY, "This page answers to 127.0.0.1 only.\n")
            return
        found = self.server.page.answer(self.path)
        self._send(*(found or (404, "text/plain", PAGE_POLICY, "There is no such letter.\n")))

    def _send(self, status: int, content_type: str, policy: str, body: str) -> None:
        sent = body.encode("utf-8", "replace")
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Security-Policy": policy}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{content_type}; charset=utf-8")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""
