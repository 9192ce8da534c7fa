"""What a caller gets when Python gave no answer: from the Node that stands between Netlify and Python."""

from __future__ import annotations

import ast
import base64
import importlib
import json
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dev.deployed_function import node
from shared.edge import SECURITY_HEADERS, Answer
from shared.edge import answer as edge_answer
from shared.settings import Settings
from tests.unit.test_settings import GUIDE

ROOT = Path(__file__).parents[2]
BRIDGE = ROOT / "netlify" / "plugins" / "python-functions" / "runtime"
INPUTS = tomllib.loads((ROOT / "netlify.toml").read_text("utf-8"))["plugins"][0]["inputs"]
SECRET = "postgresql://lipa:a-secret-word@db.example/254708374149"


def bridge(script: str) -> Any:
    """What a script prints in the Node that stands between Netlify and Python."""
    told = subprocess.run([node(), "-e", script], cwd=BRIDGE, capture_output=True, check=True, timeout=60)
    return json.loads(told.stdout)


def test_what_the_platform_answers_when_python_gave_none_is_as_safe() -> None:
    """The bridge has its own copy of the headers."""
    told = bridge("console.log(JSON.stringify(require('./problems.js').SECURITY_HEADERS))")
    assert told == SECURITY_HEADERS


def test_a_function_with_too_many_requests_waiting_says_so_and_does_nothing() -> None:
    told = bridge(
        "const { Pool } = require('./pool.js');"
        "const full = new Pool({ maxWorkers: 1, maxWaiting: 0, timeoutMs: 1000, log: () => {} });"
        "full.invoke({}).then((answer) => console.log(JSON.stringify(answer)))"
    )
    assert (told["statusCode"], json.loads(told["body"])["code"]) == (502, "function_busy")
    assert told["headers"] == {"content-type": "application/problem+json", **SECURITY_HEADERS}


# The deployed function's own form -------------------------------------------------------------------------------------


def through(script: str, **given: object) -> Any:
    """What a script makes of `given` with the functions of modern.js."""
    return bridge(
        f"const given = {json.dumps(given)};"
        "const { eventOf, responseOf } = require('./modern.js');"
        f"(async () => {{ {script} }})().then((made) => console.log(JSON.stringify(made)))"
    )


def event_of(url: str, method: str = "GET", headers: object = (), body: bytes | None = None) -> Any:
    return through(
        "return await eventOf(new Request(given.url, { method: given.method, headers: given.headers,"
        " body: given.body === null ? undefined : Buffer.from(given.body, 'base64') }))",
        url=url,
        method=method,
        headers=list(headers),  # type: ignore[call-overload]
        body=None if body is None else base64.b64encode(body).decode(),
    )


def test_a_request_becomes_the_event_of_a_lambda() -> None:
    event = event_of(
        "https://shop.example/api/pay/status/a%20b?x=1&x=2&y=%C3%A9",
        headers=[["X-NF-Client-Connection-IP", "196.201.214.200"], ["Accept", "a/b, c/d"], ["x-nf-request-id", "01J"]],
    )
    assert event == {
        "path": "/api/pay/status/a%20b",
        "httpMethod": "GET",
        "headers": {"x-nf-client-connection-ip": "196.201.214.200", "accept": "a/b, c/d", "x-nf-request-id": "01J"},
        "multiValueHeaders": {
            "x-nf-client-connection-ip": ["196.201.214.200"],
            "accept": ["a/b, c/d"],
            "x-nf-request-id": ["01J"],
        },
        "queryStringParameters": {"x": "1, 2", "y": "\u00e9"},
        "multiValueQueryStringParameters": {"x": ["1", "2"], "y": ["\u00e9"]},
        "body": None,
        "isBase64Encoded": False,
        "rawUrl": "https://shop.example/api/pay/status/a%20b?x=1&x=2&y=%C3%A9",
        "rawQuery": "x=1&x=2&y=%C3%A9",
    }


@pytest.mark.parametrize(
    "body",
    [
        b'{"amount": 10}',
        "\ufeffJina: \u00d1andu \U0001f600".encode(),
        b"\xff\xfe\x00",
        bytes(range(256)),
        b"\xed\xa0\x80",
        b"\r\n",
        b"",
    ],
)
@pytest.mark.parametrize("kind", ["application/json", "application/octet-stream", "text/plain; charset=latin1"])
def test_a_handler_gets_the_bytes_that_came(body: bytes, kind: str) -> None:
    event = event_of("https://shop.example/", "POST", [["content-type", kind]], body)
    text = event["body"] or ""
    assert (base64.b64decode(text) if event["isBase64Encoded"] else text.encode()) == body


@pytest.mark.parametrize(
    ("answer", "status", "headers", "body"),
    [
        ({"statusCode": 200, "body": "Habari \u00e9"}, 200, [], "Habari \u00e9".encode()),
        ({"statusCode": 201, "body": "/wA=", "isBase64Encoded": True}, 201, [], b"\xff\x00"),
        ({"statusCode": 204, "body": ""}, 204, [], b""),
        ({"statusCode": 304, "body": "not sent"}, 304, [], b""),
        ({"statusCode": 503, "headers": {"Retry-After": 3}}, 503, [["retry-after", "3"]], b""),
        (
            {
                "statusCode": 200,
                "headers": {"Set-Cookie": "replaced=1", "vary": "Origin"},
                "multiValueHeaders": {"set-cookie": ["a=1", "b=2"]},
                "body": None,
            },
            200,
            [["set-cookie", "a=1"], ["set-cookie", "b=2"], ["vary", "Origin"]],
            b"",
        ),
    ],
    ids=["text", "binary", "no content", "not modified", "a number", "several of a kind"],
)
def test_what_a_handler_returns_becomes_a_response(
    answer: dict[str, Any], status: int, headers: list[list[str]], body: bytes
) -> None:
    made = through(
        "const made = responseOf(given.answer);"
        "return [made.status, [...made.headers], Buffer.from(await made.arrayBuffer()).toString('base64')]",
        answer=answer,
    )
    assert [made[0], made[1], base64.b64decode(made[2])] == [status, headers, body]


TAKES_EVENTS = (
    "const { Worker } = require('./worker.js');"
    "const worker = new Worker({ name: 'idle', handler: 'idle.handler', python: PYTHON, root: ROOT, output() {} });"
    "worker.on('idle', async () => {"
    "  const told = {};"
    "  for (const path of ['/2018-06-01/runtime/invocation/next', '/2018-06-01/runtime/invocation/x/response',"
    "      `/${'0'.repeat(48)}/2018-06-01/runtime/invocation/next`]) {"
    "    const method = path.endsWith('next') ? 'GET' : 'POST';"
    "    told[path] = (await fetch(`http://${worker.address}${path}`, { method })).status;"
    "  }"
    "  console.log(JSON.stringify([told, worker.state])); process.exit() })"
)


def test_another_program_of_the_machine_takes_no_event_and_answers_none(tmp_path: Path) -> None:
    (tmp_path / "idle.py").write_text("def handler(event, context):\n    return {'statusCode': 200}\n")
    script = TAKES_EVENTS.replace("PYTHON", json.dumps(sys.executable)).replace("ROOT", json.dumps(str(tmp_path)))
    told, state = bridge(script)
    assert set(told.values()) == {403}
    assert len(told) == 3
    assert state == "idle", "Python still waits for its event"


def test_the_variables_of_the_moment_reach_a_process_that_was_there_before(tmp_path: Path) -> None:
    (tmp_path / "reads.py").write_text(
        "import os\nSTART = dict(os.environ)\ndef handler(event, context):\n"
        "    return {'statusCode': 200, 'body': repr([os.environ.get(name) for name in ('KEPT', 'NEW', 'GONE', 'TZ')]"
        " + [START.get('NEW'), event['body']])}\n"
    )
    told = bridge(
        "Object.assign(process.env, { KEPT: 'k', GONE: 'g' }); delete process.env.NEW;"
        "const { Pool } = require('./pool.js');"
        f"const pool = new Pool({{ name: 'reads', handler: 'reads.handler', python: {json.dumps(sys.executable)},"
        f" root: {json.dumps(str(tmp_path))}, maxWorkers: 1, maxWaiting: 9, timeoutMs: 20000,"
        " output() {}, log() {} });"
        "(async () => {"
        "  const told = [(await pool.invoke({ body: 'a\\nb' })).body];"
        "  Object.assign(process.env, { NEW: 'line\\n\u00e9', TZ: 'EAT' }); delete process.env.GONE;"
        "  for (const body of ['c', 'd']) told.push((await pool.invoke({ body })).body);"
        "  console.log(JSON.stringify(told)); process.exit() })()"
    )
    assert [ast.literal_eval(each) for each in told] == [
        ["k", None, "g", ":UTC", None, "a\nb"],
        ["k", "line\n\u00e9", None, ":UTC", None, "c"],
        ["k", "line\n\u00e9", None, ":UTC", None, "d"],
    ]


# Pages of other origins -----------------------------------------------------------------------------------------------

SHOP, OTHER = "https://shop.example", "https://other.example"


def answered(asked: Mapping[str, Any], cors: object, **environment: str) -> dict[str, Any]:
    """What a caller gets while there is no Python."""
    given = json.dumps([asked, cors, environment])
    found = bridge(
        f"const [event, cors, environment] = {given};"
        "for (const name of ['ALLOWED_ORIGINS', 'URL']) delete process.env[name];"
        "Object.assign(process.env, environment);"
        "const { Pool } = require('./pool.js');"
        "const full = new Pool({ maxWorkers: 1, maxWaiting: 0, timeoutMs: 1000, cors, log: () => {} });"
        "full.invoke(event).then((answer) => console.log(JSON.stringify(answer)))"
    )
    assert isinstance(found, dict)
    return found


def cors_of(function: str) -> object:
    """As netlify.toml has it."""
    cors = INPUTS["cors"]
    return {name: cors[name] for name in ("origins", "headers")} if function in cors["functions"] else None


def asks(origin: str | None, method: str = "POST", **headers: str) -> dict[str, Any]:
    return {"httpMethod": method, "headers": headers | ({"origin": origin} if origin else {})}


def told_about_cors(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name == "vary" or name.startswith("access-control")}


@pytest.mark.parametrize("function", ["stkpush", "status", "invoice", "callback", "sweep"])
@pytest.mark.parametrize("origin", [SHOP, OTHER, None, f"{SHOP}.evil.example", "null"])
def test_a_page_reads_the_bridges_answer_exactly_where_it_reads_the_functions(
    function: str, origin: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared import settings

    for name, value in {**GUIDE, "ALLOWED_ORIGINS": SHOP}.items():
        monkeypatch.setenv(name, value)
    settings.of_this_process.cache_clear()
    handler = importlib.import_module(f"netlify.functions.{function}").handler
    event = {**asks(origin, "PATCH"), "path": "/nowhere", "body": ""}
    by_python = handler(event, SimpleNamespace(aws_request_id="0"))["headers"] if function != "sweep" else {}
    by_bridge = answered(asks(origin), cors_of(function), ALLOWED_ORIGINS=SHOP)
    settings.of_this_process.cache_clear()
    assert (by_bridge["statusCode"], json.loads(by_bridge["body"])["code"]) == (502, "function_busy")
    assert told_about_cors(by_bridge["headers"]) == told_about_cors(by_python)
    assert function not in ("callback", "sweep") or told_about_cors(by_bridge["headers"]) == {}


@pytest.mark.parametrize(
    "environment",
    [
        {"ALLOWED_ORIGINS": "HTTPS://Shop.Example:443/, https://b.example:8443"},
        {"ALLOWED_ORIGINS": "https://b.example,https://shop.example/path"},
        {"ALLOWED_ORIGINS": "*"},
        {"ALLOWED_ORIGINS": " ", "URL": "https://shop.example/"},
        {"ALLOWED_ORIGINS": "https://b.example", "URL": SHOP},
        {"URL": "http://shop.example:80"},
        {"ALLOWED_ORIGINS": "https://user@shop.example"},
        {"ALLOWED_ORIGINS": "shop.example"},
        {},
    ],
    ids=str,
)
def test_the_bridge_allows_whom_the_settings_allow(environment: dict[str, str]) -> None:
    try:
        allowed: tuple[str, ...] = Settings.from_environment({**GUIDE, **environment}).edge.allowed_origins
    except Exception:
        allowed = ()
    for origin in (SHOP, "http://shop.example", "https://b.example:8443", "https://b.example", "*", "shop.example"):
        headers = answered(asks(origin), cors_of("status"), **environment)["headers"]
        assert (headers.get("access-control-allow-origin") == origin) == (origin in allowed), origin


def test_a_browser_that_asks_beforehand_is_told_to_go_on_and_read_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused preflight would show the page a failed connection, and not that nothing was sent."""
    question = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    event = asks(SHOP, "OPTIONS", **question)
    by_bridge = answered(event, cors_of("stkpush"), ALLOWED_ORIGINS=SHOP)
    by_python = edge_answer(
        {**event, "path": "/stkpush"},
        function="stkpush",
        methods=("POST",),
        story=lambda _: Answer(200, {}),
        origins=lambda: (SHOP,),
    )
    assert (by_bridge["statusCode"], by_bridge["body"]) == (by_python["statusCode"], by_python["body"]) == (204, "")
    for_a_while = {"access-control-max-age": "0"}
    assert by_bridge["headers"] == {**by_python["headers"], **for_a_while}
    for refused in (asks(OTHER, "OPTIONS", **question), asks(SHOP, "OPTIONS"), asks(None, "OPTIONS", **question)):
        assert answered(refused, cors_of("stkpush"), ALLOWED_ORIGINS=SHOP)["statusCode"] == 502
    assert answered(event, cors_of("callback"), ALLOWED_ORIGINS=SHOP)["statusCode"] == 502


# What is told of an exception -----------------------------------------------------------------------------------------

BREAKS = {
    "while it is imported": "word = 1\nraise ValueError('{secret}')\n",
    "in what it came of": "try:\n    int('{secret}')\nexcept ValueError as e:\n    raise KeyError('{secret}') from e\n",
    "by leaving": "import sys\nsys.exit('{secret}')\n",
    "as no code at all": "word = = '{secret}'\n",
    "in the handler": "def handler(event, context):\n    raise ValueError(event['body'] + '{secret}')\n",
    "leaving the handler": "import sys\ndef handler(event, context):\n    sys.exit('{secret}')\n",
    "as no answer": "def handler(event, context):\n    return {{'statusCode': 200, 'body': {{1, '{secret}'}}}}\n",
}


def breaking(folder: Path, code: str, *, show_errors: bool) -> str:
    """Everything that leaves a function whose module is `code`: its output, its log, its answer."""
    (folder / "breaks.py").write_text(code)
    told = bridge(
        "const { Pool } = require('./pool.js'); const told = [];"
        f"const pool = new Pool({{ name: 'breaks', handler: 'breaks.handler', python: {json.dumps(sys.executable)},"
        f" root: {json.dumps(str(folder))}, maxWorkers: 1, maxWaiting: 1, timeoutMs: 20000,"
        f" showErrors: {json.dumps(show_errors)},"
        " output: (text) => told.push(text), log: (fields) => told.push(fields) });"
        f"pool.invoke({{ body: {json.dumps(SECRET)} }})"
        ".then((answer) => setTimeout(() => { console.log(JSON.stringify([told, answer])); process.exit() }, 100))"
    )
    return json.dumps(told)


@pytest.mark.parametrize("code", BREAKS.values(), ids=BREAKS)
def test_a_deployed_function_tells_of_an_exception_its_type_and_place_and_no_value(tmp_path: Path, code: str) -> None:
    told = breaking(tmp_path, code.format(secret=SECRET), show_errors=False)
    assert [value for value in ("a-secret-word", "254708374149") if value in told] == []
    assert "breaks.py:" in told or "MarshalError" in told
    assert "raise " not in told  # nor the source


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    told = breaking(tmp_path, "import a_package_that_is_not_there\n", show_errors=False)
    assert "ModuleNotFoundError: of a_package_that_is_not_there at breaks.py:1 <module>" in told


def test_a_developer_is_shown_the_whole_of_it(tmp_path: Path) -> None:
    for code in (BREAKS["while it is imported"], BREAKS["in the handler"]):
        told = breaking(tmp_path, code.format(secret="the word"), show_errors=True)
        assert "Traceback (most recent call last)" in told
        assert "the word" in told
