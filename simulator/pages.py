"""The pages: start, phones, statement, mailbox. Plain files, without inline code or anything from other sites."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from simulator.mailbox import Mailbox

FILES = Path(__file__).with_name("web")

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

MAIL_HEADERS = {
    **HEADERS,
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "frame-ancestors 'self'",
}
"""An e-mail may use its own styles, and nothing else."""


@dataclass
class Pages:
    mailbox: Mailbox

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self._page("index.html")),
            web.get("/phone", self._page("phones.html")),
            web.get(r"/phone/{msisdn:254[17]\d{8}}", self._page("phone.html")),
            web.get("/statement", self._page("statement.html")),
            web.get("/mail", self._page("mail.html")),
            web.get("/mail/{id}/html", self._mail),
            web.get(r"/web/{name:[a-z]+\.(css|js|svg)}", self._file),
        ]

    @staticmethod
    def _page(name: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def page(request: web.Request) -> web.FileResponse:
            return web.FileResponse(FILES / name, headers=HEADERS)

        return page

    async def _file(self, request: web.Request) -> web.FileResponse:
        path = FILES / request.match_info["name"]
        if not path.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(path, headers=HEADERS)

    async def _mail(self, request: web.Request) -> web.Response:
        mail = self.mailbox.find(request.match_info["id"])
        if mail is None or mail.html is None:
            raise web.HTTPNotFound
        return web.Response(text=mail.html, content_type="text/html", charset="utf-8", headers=MAIL_HEADERS)
