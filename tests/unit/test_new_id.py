"""Keys that we make: UUIDs of version 7, which grow with time and cannot be guessed."""

from __future__ import annotations

import time
import uuid

from shared.transaction_id import is_transaction_id, new_id


def test_a_new_id_is_a_uuid_of_version_7_of_this_millisecond() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(new_id())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000
    assert is_transaction_id(str(made))


def test_new_ids_grow_with_time_and_differ_in_74_random_bits() -> None:
    made = []
    for _ in range(50):
        made.append(new_id())
        time.sleep(0.001)
    assert made == sorted(made)
    random_part = 0x0FFF_3FFF_FFFF_FFFF_FFFF
    differing = 0
    for _ in range(400):
        differing |= uuid.UUID(new_id()).int ^ uuid.UUID(made[0]).int
    assert differing & random_part == random_part
