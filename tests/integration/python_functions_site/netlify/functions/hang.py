"""Never answers, unless it is asked to."""

import time
from typing import Any

from netlify.functions._answers import answer


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    query = event["queryStringParameters"]
    if query.get("not"):
        return answer()
    if query.get("for_s"):
        time.sleep(float(query["for_s"]))
        return answer()
    while True:
        time.sleep(0.1)
