"""What a caller gets when Python gave no answer: from the Node that stands between Netlify and Python."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from dev.deployed_function import node
from shared.edge import SECURITY_HEADERS

BRIDGE = Path(__file__).parents[2] / "netlify" / "plugins" / "python-functions" / "runtime"


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


def test_what_no_header_can_hold_is_left_out_and_the_event_is_handled_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text(
        "def handler(event, context):\n    return {'statusCode': 200, 'body': event['body']}\n"
    )
    told = bridge(
        "process.env._X_AMZN_TRACE_ID = 'Root=1-\u20ac';"
        "const { Pool } = require('./pool.js');"
        f"const pool = new Pool({{ name: 'echo', handler: 'echo.handler', python: {json.dumps(sys.executable)},"
        f" root: {json.dumps(str(tmp_path))}, maxWorkers: 1, maxWaiting: 1, timeoutMs: 20000,"
        " output() {}, log() {} });"
        "pool.invoke({ body: 'x' }, { clientContext: { custom: '\u20ac' } })"
        ".then((answer) => { console.log(JSON.stringify(answer)); process.exit() })"
    )
    assert told == {"statusCode": 200, "body": "x"}
