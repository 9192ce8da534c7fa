"""How the control API reads a request and answers: JSON in and out, and a problem that names what is wrong."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

Model = TypeVar("Model", bound=BaseModel)


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def time_text(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def json_answer(content: object) -> web.Response:
    return web.json_response(content, headers={"Cache-Control": "no-store"})


def problem(
    kind: type[web.HTTPException], detail: str, errors: list[dict[str, Any]] | None = None
) -> web.HTTPException:
    content = {"detail": detail, **({"errors": errors} if errors else {})}
    return kind(text=json.dumps(content), content_type="application/json")


async def read(request: web.Request, model: type[Model]) -> Model:
    return valid(model, await read_object(request))


async def read_object(request: web.Request) -> dict[str, Any]:
    """Only application/json: a page of another site cannot send it without a preflight."""
    if request.content_type != "application/json":
        raise problem(web.HTTPUnsupportedMediaType, "send application/json")
    try:
        content = json.loads(await request.read())
    except (ValueError, RecursionError):
        raise problem(web.HTTPBadRequest, "the body is not JSON") from None
    if not isinstance(content, dict):
        raise problem(web.HTTPBadRequest, "the body is not a JSON object")
    return content


def valid(model: type[Model], content: dict[str, Any]) -> Model:
    """A 422 that names each wrong field."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        errors = [{"field": _field(one["loc"], one["msg"]), "message": one["msg"]} for one in error.errors()]
        named = ", ".join(dict.fromkeys(one["field"] for one in errors))
        raise problem(web.HTTPUnprocessableEntity, f"wrong: {named}", errors) from None


def _field(loc: tuple[int | str, ...], message: str) -> str:
    """A rule about several fields has no place of its own; its message begins with the field to change."""
    return str(loc[0]) if loc else message.removeprefix("Value error, ").split()[0].rstrip(":")
