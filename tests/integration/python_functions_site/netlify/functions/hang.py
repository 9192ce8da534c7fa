"""Never answers, unless it is asked to."""

import time
from typing import Any

from netlify.functions._answers import answer


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    if event["queryStringParameters"].get("not"):
        return answer()
    while True:
        time.sleep(0.1)
