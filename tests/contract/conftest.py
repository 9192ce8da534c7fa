"""A scripted Daraja for the tests of our client: it gives tokens, accepts pushes and answers queries with success."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.scripted_daraja import PUSH, QUERY, ScriptedDaraja, recorded, scripted_daraja


@pytest.fixture
def server() -> Iterator[ScriptedDaraja]:
    with scripted_daraja() as daraja:
        daraja.answer(PUSH, recorded("push_answers.json")[0])
        daraja.answer(QUERY, recorded("query_answers.json")[0])
        yield daraja
