"""What is printed from the code, pages of docs/ and the API's description: `python -m dev.print_docs` writes it, a test
keeps it so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dev.api_description import openapi_json
from dev.proofs_page import proofs_page
from dev.result_codes_page import result_codes_page
from dev.states_page import states_page

DOCS = Path(__file__).parent.parent / "docs"
PAGES: dict[str, Callable[[], str]] = {
    "proofs/README.md": proofs_page,
    "result-codes.md": result_codes_page,
    "states.md": states_page,
    "../public/openapi.json": openapi_json,
}


def main() -> None:
    DOCS.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), "utf-8")
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
