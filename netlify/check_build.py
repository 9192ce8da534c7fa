"""What each build says about this shop's settings, as far as it sees them. The plugin python-functions runs it.

It stops no build. Standard library only: the functions' packages may not be installed for the build.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

AWS_REGIONS = {
    "cmh": "us-east-2", "dub": "eu-west-1", "fra": "eu-central-1", "gru": "sa-east-1", "iad": "us-east-1",
    "lhr": "eu-west-2", "nrt": "ap-northeast-1", "pdx": "us-west-2", "sfo": "us-west-1", "sin": "ap-southeast-1",
    "syd": "ap-southeast-2", "yul": "ca-central-1",
}  # fmt: skip
"""By Netlify's own names (docs.netlify.com, Functions, Region)."""
DEFAULT_REGION = "cmh"


def warnings(environ: Mapping[str, str], build: Mapping[str, Any]) -> Iterator[str]:
    context = build["context"]
    if environ.get("MPESA_ENV", "").strip() == "production" and context != "production":
        yield (
            f"MPESA_ENV is production, and the context of this deploy is {context}: its functions will answer"
            " 500 misconfigured. Give MPESA_ENV and the other M-Pesa variables the sandbox's values in this context"
            " (Site configuration, Environment variables, a value for each deploy context)."
        )
    address = environ.get("DATABASE_URL", "").strip() or environ.get("NETLIFY_DB_URL", "").strip()
    database = region_of(address)
    for region in sorted({region or DEFAULT_REGION for region in build["regions"].values()}):
        functions = AWS_REGIONS.get(region, region)
        if database is not None and database != functions:
            chosen = (
                ""
                if region in build["regions"].values()
                else ", unless Functions region in the site's settings is another"
            )
            yield (
                f"The database is in {database}, the functions are in {functions}{chosen}: each request makes several"
                " round trips between them. Put both in one region (docs/deploying.md, step 2)."
            )


def region_of(address: str) -> str | None:
    """The AWS region that the host of an address names; None: it names none."""
    try:
        found = re.search(r"(?<![a-z])[a-z]{2}-[a-z]+-[0-9](?![0-9])", urlsplit(address).hostname or "")
    except ValueError:
        return None
    return found[0] if found else None


if __name__ == "__main__":
    for warning in warnings(os.environ, json.loads(sys.argv[1])):
        sys.stdout.write(f"\nWARNING: {warning}\n")
