"""Does what handlers should not do: see the names of the tests."""

import os
import signal
import sys
import time
from typing import Any

from netlify.functions._answers import answer


def handler(event: dict[str, Any], context: Any) -> Any:
    match event["queryStringParameters"].get("how"):
        case "killed":
            print("the last words", file=sys.stderr)
            os.kill(os.getpid(), signal.SIGKILL)
        case "exits":
            sys.exit(3)
        case "raises":
            raise ValueError("a secret thing went wrong")
        case "no answer":
            return None
        case "no text":
            return {"statusCode": 200, "body": {"not": "text"}}
        case "too large":
            return {"statusCode": 200, "body": "x" * 7_000_000}
        case "sleeps":
            print("asleep")
            time.sleep(0.3)
    return answer()
