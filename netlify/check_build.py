"""What each build says about this shop's settings and prices. The plugin python-functions runs it.

A mistake in the catalogue stops the build, and each is named with its line; all else is a warning. The functions get
the catalogue, and know by the variable CATALOGUE whether there was one. Standard library only: the functions' packages
may not be installed for the build.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

AWS_REGIONS = {
    "cmh": "us-east-2", "dub": "eu-west-1", "fra": "eu-central-1", "gru": "sa-east-1", "iad": "us-east-1",
    "lhr": "eu-west-2", "nrt": "ap-northeast-1", "pdx": "us-west-2", "sfo": "us-west-1", "sin": "ap-southeast-1",
    "syd": "ap-southeast-2", "yul": "ca-central-1",
}  # fmt: skip
"""By Netlify's own names (docs.netlify.com, Functions, Region)."""
DEFAULT_REGION = "cmh"
ROOT = Path(__file__).resolve().parent.parent


def catalogue(environ: Mapping[str, str], root: Path = ROOT) -> dict[str, Any]:
    """What the functions get of the shop's prices: the file, and a variable that names it. Ends where it is wrong."""
    from shared.catalogue import NONE, file_of
    from shared.environment_variables import TABLE, fits
    from shared.prices import CatalogueWrong, read_catalogue

    setting = environ.get("CATALOGUE", "").strip() or None
    if setting is not None and not fits(TABLE["CATALOGUE"].form, setting):
        sys.exit(f"CATALOGUE must hold {TABLE['CATALOGUE'].holds}")
    file = file_of(setting, root)
    if file is None:
        return {"variables": {"CATALOGUE": NONE}}
    name = file.relative_to(root).as_posix()
    try:
        read_catalogue(file.read_bytes())
    except OSError:
        sys.exit(f"CATALOGUE names {name}, and there is no such file. Put it there, or set CATALOGUE to {NONE}.")
    except CatalogueWrong as wrong:
        sys.exit("\n  ".join((f"{name}, the shop's catalogue, has mistakes:", *wrong.mistakes)))
    return {"include": [name], "variables": {"CATALOGUE": name}}


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
    sys.path.insert(0, str(ROOT))
    told = json.loads(sys.argv[1])
    for warning in warnings(os.environ, told):
        sys.stdout.write(f"\nWARNING: {warning}\n")
    Path(told["answer"]).write_text(json.dumps(catalogue(os.environ)), encoding="utf-8")
