"""A scheduled function."""

import json
from typing import Any

TICKS: list[Any] = []


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    TICKS.append(json.loads(event["body"]))
    print(f"tick {len(TICKS)}")
    return {"statusCode": 200}
