"""Faults that Safaricom has been seen to make, drawn by chance: scripts for the pushes that have none.

`Behaviour.hostility` is the share of payments that meet a fault. The same seed draws the same faults. Each was seen or
is documented, unless its knob says INF (simulator/scripts.py, where a new fault begins); how often it happens is our
choice. Two faults that only the statement could show are not drawn: money that moves an hour after its failure without
a callback, and a success that a query denies and no callback reports.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, TypeAlias

from simulator.scripts import Script

Knobs: TypeAlias = dict[str, Any]

OUTCOMES: tuple[tuple[int, str | Knobs], ...] = (
    (68, "pay"),
    (8, "cancel"),
    (7, "wrong_pin"),
    (5, "no_funds"),
    (8, "ignore"),
    (1, {"code": 1019, "desc": "Transaction has expired"}),
    (1, {"code": 17, "desc": "Rule limited."}),
    (1, {"code": "SFC_IC0003", "desc": "The operator does not exist."}),
    (1, {"code": "E3008", "desc": "Error, the user has a bad debt contract."}),
)
"""Weights that add up to 100."""
UNKNOWN_CODES: tuple[Knobs, ...] = (
    {"code": 4242, "desc": "A code that nobody has explained"},
    {"code": "X9", "desc": ""},
    {"code": 4999, "desc": "The transaction is still under processing"},
)
UNSETTLING_SHAPES = (
    "still_processing", "being_processed", "empty_error_200", "empty_error_500", "does_not_exist",
    "invalid_checkout_request_id", "spike_arrest_429", "firewall_403",
)  # fmt: skip
UNCLEAR_ANSWERS = ("system_busy", "internal_server_error", "firewall_403", "firewall_503")
CLEAR_REFUSALS = (
    "invalid_amount", "wrong_credentials", "merchant_does_not_exist", "subscriber_locked", "spike_arrest_429",
    "spike_arrest_500", "quota_violation", "invalid_access_token",
)  # fmt: skip
AN_HOUR_S = 3600


def draw(randomness: Random, hostility: float) -> Script:
    """One payment's script. `hostility` is the chance of a fault in its callback; half of it for push and queries."""
    knobs = _customer(randomness)
    if randomness.random() < hostility:
        randomness.choice(CALLBACK_TROUBLES)(randomness, knobs)
    if randomness.random() < hostility / 2:
        randomness.choice(PUSH_TROUBLES)(randomness, knobs)
    if randomness.random() < hostility / 2:
        randomness.choice(QUERY_TROUBLES)(randomness, knobs)
    if (
        further := Random(repr(sorted(knobs.items())))
    ).random() < hostility / 2:  # its own chance: the rest stays as drawn
        further.choice(FURTHER_TROUBLES)(further, knobs)
    return Script.model_validate(knobs)


def _customer(randomness: Random) -> Knobs:
    weights = [weight for weight, _ in OUTCOMES]
    outcome = randomness.choices([outcome for _, outcome in OUTCOMES], weights)[0]
    after_s = 60.0 if outcome == "ignore" else randomness.uniform(5, 25)
    return {"outcome": outcome, "after_s": round(after_s, 1), **_spelling(randomness)}


def _spelling(randomness: Random) -> Knobs:
    """Every form of a right callback."""
    return {
        "callback_amount": randomness.choice(("1", "1", "1.0", "1.00")),
        "callback_balance": randomness.choice(("no_value", "value", "absent")),
        "callback_phone": randomness.choice(("number", "number", "text", "masked", "absent")),
        "callback_code": randomness.choice(("int", "int", "int", "str")),
        "callback_metadata": randomness.choice(("ordered", "ordered", "shuffled")),
    }


# With the callback ----------------------------------------------------------------------------------------------------


def _missing(randomness: Random, knobs: Knobs) -> None:
    knobs["callback_count"] = 0


def _doubled(randomness: Random, knobs: Knobs) -> None:
    knobs.update(callback_count=randomness.choice((2, 3)), callback_spacing_s=randomness.choice((0, 0.5, 90)))


def _late(randomness: Random, knobs: Knobs) -> None:
    knobs["callback_delay_s"] = round(randomness.choice((60, 600, 3 * AN_HOUR_S)) * randomness.uniform(0.5, 1.5))


def _early(randomness: Random, knobs: Knobs) -> None:
    if "push_answer" not in knobs:
        knobs.update(callback_before_response=True, after_s=0.0)


def _another_amount_told(randomness: Random, knobs: Knobs) -> None:
    knobs["callback_amount_told"] = randomness.choice((1, 7.5, 99_999))


def _another_amount_paid(randomness: Random, knobs: Knobs) -> None:
    knobs["paid_amount"] = randomness.choice((1, 3))


def _incomplete(randomness: Random, knobs: Knobs) -> None:
    left_out = randomness.choice((["MpesaReceiptNumber"], ["Amount"], ["Amount", "MpesaReceiptNumber"], None))
    knobs.update({"callback_metadata": "absent"} if left_out is None else {"callback_leave_out": left_out})


def _unknown_code(randomness: Random, knobs: Knobs) -> None:
    knobs["outcome"] = randomness.choice(UNKNOWN_CODES)


def _second_thoughts(randomness: Random, knobs: Knobs) -> None:
    """Success after 1037 or 1019; its callbacks may be missing."""
    expired = {"code": 1019, "desc": "Transaction has expired"}
    later_s = round(randomness.choice((30, 240, 2400)) * randomness.uniform(0.8, 1.2))
    knobs.update(outcome=randomness.choice(("ignore", expired)), after_s=20.0, paid_later_s=later_s)
    knobs.update(randomness.choice(({}, {}, {"told_in_reverse": True}, {"callback_count": 0})))


def _c2b_too(randomness: Random, knobs: Knobs) -> None:
    knobs["c2b_confirmation"] = True


CALLBACK_TROUBLES: tuple[Callable[[Random, Knobs], None], ...] = (
    _missing, _missing, _missing, _doubled, _doubled, _late, _late, _early, _another_amount_told, _another_amount_paid,
    _incomplete, _unknown_code, _second_thoughts, _second_thoughts, _c2b_too,
)  # fmt: skip


# With the push --------------------------------------------------------------------------------------------------------


def _answer_lost(randomness: Random, knobs: Knobs) -> None:
    knobs["drop_response"] = True


def _unclear(randomness: Random, knobs: Knobs) -> None:
    """An error, while the phone rings or not."""
    knobs.update(push_answer=randomness.choice(UNCLEAR_ANSWERS), reaches_phone=randomness.random() < 0.5)
    if not knobs["reaches_phone"]:
        knobs["callback_before_response"] = False


def _refused(randomness: Random, knobs: Knobs) -> None:
    knobs.update(push_answer=randomness.choice(CLEAR_REFUSALS), callback_before_response=False)


PUSH_TROUBLES: tuple[Callable[[Random, Knobs], None], ...] = (_answer_lost, _answer_lost, _unclear, _refused)


# With the query -------------------------------------------------------------------------------------------------------


def _unsettled(randomness: Random, knobs: Knobs) -> None:
    knobs["query"] = [randomness.choice(UNSETTLING_SHAPES) for _ in range(randomness.randint(1, 4))]


def _stuck(randomness: Random, knobs: Knobs) -> None:
    """4999 long after the end (seen up to 33 minutes)."""
    knobs["query_stuck_s"] = round(randomness.uniform(60, 1980))


def _contradicts(randomness: Random, knobs: Knobs) -> None:
    """A query denies what the callback says."""
    if knobs.get("callback_count", 1) > 0 and knobs["outcome"] == "pay":
        knobs["query_result"] = {"code": 1032, "desc": "Request cancelled by user"}


def _token_dies(randomness: Random, knobs: Knobs) -> None:
    """Another instance, or another program of the same app, fetches a token in between."""
    knobs["token_dies"] = True


def _slow(randomness: Random, knobs: Knobs) -> None:
    """Answers of up to 7 s were measured (130 pushes, 2025); some of these exceed a function's time limit."""
    knobs["push_latency_s"] = round(randomness.choice((4, 7, 30)) * randomness.uniform(0.8, 1.2), 1)


FURTHER_TROUBLES: tuple[Callable[[Random, Knobs], None], ...] = (_token_dies, _slow)
QUERY_TROUBLES: tuple[Callable[[Random, Knobs], None], ...] = (_unsettled, _unsettled, _stuck, _contradicts)
