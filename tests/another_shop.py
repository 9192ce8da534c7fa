"""Makes another shop of a copy of this repository: every name and price changed, its own first page, its own details.

    python -m tests.another_shop FOLDER

It changes what the docs tell a shop to change. `make test` must be green there.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

FIRST_PAGE = """<!doctype html>
<html lang="sw">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Mkate wa Mama Njeri</title>
<script type="module" src="/lipa/lipa.js"></script>
<h1>Mkate</h1>
<lipa-pay items="mkate-1:2">Piga simu 0700 000 001.</lipa-pay>
</html>
"""


def make_another_shop(root: Path) -> None:
    public = root / "public"
    catalogue = public / "catalogue.json"
    said = json.loads(catalogue.read_text(encoding="utf-8"))
    new_ids = {item["id"]: f"mkate-{number}" for number, item in enumerate(said["items"], 1)}
    items = [
        {
            "id": new_ids[item["id"]],
            "name": f"Mkate nambari {number}",
            "price_kes": item["price_kes"] * 3 + number,
            "requires": [new_ids[other] for other in item.get("requires", [])],
        }
        for number, item in enumerate(said["items"], 1)
    ]
    catalogue.write_text(json.dumps({"items": items, "open_amounts": True}, indent=1), encoding="utf-8")
    details = public / "js" / "shop-details.js"
    text = re.sub(r'\b(\w+): "[^"]*"', r'\1: "Mama Njeri \1"', details.read_text(encoding="utf-8"))
    details.write_text(text, encoding="utf-8")
    (public / "index.html").write_text(FIRST_PAGE, encoding="utf-8")
    for picture in (public / "images").glob("*"):
        picture.unlink()
    for page in public.glob("*.html"):
        page.write_text(page.read_text(encoding="utf-8").replace("Duka la Mfano", "Mama Njeri"), encoding="utf-8")


if __name__ == "__main__":
    make_another_shop(Path(sys.argv[1]))
