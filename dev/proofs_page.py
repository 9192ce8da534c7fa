"""docs/proofs/README.md: its list of figures, printed from docs/proofs/figures.json.

The tests write that file when they run with `--figures`; what `make mutation` and `make planted-bugs` count is entered
by hand, under the command's name.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from pathlib import Path

PROOFS = Path(__file__).parent.parent / "docs" / "proofs"
LABELS = {
    "test_no_history_breaks_the_books": "any history",
    "test_every_shilling_of_a_hostile_day_is_explained": "hostile days",
    "test_every_difference_of_a_hostile_day_is_named_and_nothing_else": "hostile statements",
    "test_the_crash_points_are_counted": "crash points",
    "test_two_hundred_copies_of_a_callback_pay_once": "race: 200 copies of a callback",
    "test_callbacks_queries_and_sweeps_that_race_agree_on_one_payment": "race: callbacks, queries, sweeps, status",
    "test_a_large_payment_that_everybody_confirms_at_once_is_paid_once": "race: a large payment",
    "test_sweeps_that_run_at_once_do_each_piece_of_work_once": "race: sweeps",
    "test_a_hundred_pushes_at_once_are_one_push": "race: 100 pushes with one key, for two phones, with 100 keys",
    "test_both_attempts_of_a_retried_order_that_succeed_at_once_pay_once": "race: both attempts of an order",
    "test_two_hundred_payments_at_once_have_invoice_numbers_without_a_gap": "race: 200 invoices",
    "test_32_clients_share_two_sessions_and_break_nothing": "pooler",
    "test_the_same_work_in_autocommit_breaks_the_books": "pooler: the control, which must break",
    "test_a_phone_that_is_pushed_from_everywhere_rings_no_more_often_than_allowed": "flood at one phone",
    "test_one_address_rings_no_more_phones_than_allowed": "flood from one address",
    "test_a_thousand_addresses_ring_no_more_phones_than_the_shop_allows": "flood from 1,000 addresses",
    "test_a_hundred_at_the_same_moment_never_exceed_a_limit_of_pushes": "100 at once, limits of pushes",
    "test_a_hundred_at_the_same_moment_never_exceed_a_days_sum": "100 at once, limits of amounts",
    "test_every_answer_is_one_that_is_described": "requests from the API's description",
    "test_a_fuzzer_that_watches_the_branches_finds_no_bytes_that_break_them": "fuzzed callbacks",
    "test_no_forgery_settles_a_payment_or_harms_a_paid_one": "forged callbacks",
    "test_forgeries_that_race_the_real_callback_change_nothing_without_the_address": "forgeries in a race, no address",
    "test_forgeries_with_the_address_that_race_the_real_callback_lose_no_money": "forgeries in a race, address known",
    "test_every_invoice_arrives_or_is_given_up_with_an_alert_after_three_tries": "mail storms",
    "test_every_event_arrives_signed_and_in_order_or_is_alerted_and_every_sale_is_mailed": "webhook storms",
    "test_nothing_private_leaves_whatever_happens": "private values",
    "test_history_is_not_changed_unseen": "tampering",
    "test_everybody_of_a_hostile_day_is_erased": "erasure",
    "test_large_books_are_looked_up_exported_erased_and_checked": "large books",
    "test_every_planted_misconfiguration_is_named_by_its_check_with_its_remedy": "planted misconfigurations",
    "make mutation": "mutants",
    "make planted-bugs": "planted bugs",
}
"""The lines of the list, in the order of the page: a test or a command, and what the reader calls it."""


def proofs_page() -> str:
    """The whole page, its list of figures as the file has them."""
    page = (PROOFS / "README.md").read_text("utf-8")
    return re.sub(r"(?s)(<!-- figures -->\n).*?(<!-- end -->)", lambda found: f"{found[1]}{_list()}{found[2]}", page)


def _list() -> str:
    """A line for each test that has figures; those of its parameters and shards stand together, equal ones once."""
    kept = json.loads((PROOFS / "figures.json").read_text("utf-8"))
    said, measured = defaultdict(list), defaultdict(set)
    for key, figure in kept.items():
        test = key if key in LABELS else re.split(r"[\[ ]", key)[0]
        said[test].append(figure["figure"])
        measured[test].add(figure["measured"])
    usual = Counter(max(dates) for dates in measured.values()).most_common(1)[0][0]
    lines = [f"Measured on {usual}, if no other date is named.\n\n"]
    for test, label in LABELS.items():
        if test in said:
            date = max(measured[test])
            also = "" if date == usual else f" ({date})"
            lines.append(f"- **{label}**: {'; '.join(dict.fromkeys(said[test]))}{also}\n")
    return "".join(lines)
