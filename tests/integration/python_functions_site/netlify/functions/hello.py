"""Says a word, and what it was asked."""

import os
import ssl
from typing import Any

from netlify.functions._answers import answer
from shared.greeting import WORD


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    print(f"saying {WORD}")
    return answer(
        word=WORD,
        path=event["path"],
        method=event["httpMethod"],
        body=event.get("body"),
        authorities=len(ssl.create_default_context().get_ca_certs()),
        request_id=context.aws_request_id,
        context=os.environ.get("CONTEXT"),
        remaining_ms=context.get_remaining_time_in_millis(),
    )
