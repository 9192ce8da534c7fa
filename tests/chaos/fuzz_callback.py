"""What must hold for whatever bytes are sent to a callback's address; run as a program, fuzzed by atheris.

    python -m tests.chaos.fuzz_callback CORPUS_FOLDER -runs=1000000 -max_len=2048

Atheris (libFuzzer for Python) watches which branches of shared/ each input takes and keeps those that find new ones. It
exists for Linux on x86-64. The short form of the test needs it not: it only mutates what was recorded.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from random import Random

RECORDED = Path(__file__).parents[1] / "contract" / "daraja_bodies" / "callbacks.json"
TOKENS = (
    b'{"Body":{"stkCallback":{', b'"ResultCode":', b'"ResultDesc":', b'"MerchantRequestID":', b'"CheckoutRequestID":',
    b'"CallbackMetadata":{"Item":[', b'{"Name":"Amount","Value":', b'{"Name":"MpesaReceiptNumber","Value":',
    b'{"Name":"Balance"},', b'{"Name":"TransactionDate","Value":', b'{"Name":"PhoneNumber","Value":', b'"TransID":"',
    b"0", b'"0"', b"00", b"0.0", b"-0", b"1e9", b"1e-99", b"1E+999999999", b"0.01", b"249999.999", b"20251003030427",
    b'"2025-10-03 03:04:27"', b'"2547****149"', b"true", b"false", b"null", b"NaN", b"-Infinity",
    b'"SFC_IC0003"', b"1037", b'"\\ud800"', b'"\\u0000"', b'"\\u0660"', b"\xef\xbb\xbf", b"\xff", b"\x00",
    b"[" * 64, b'{"a":' * 64, b"9" * 400,
    b"}", b"]", b",", b'"', b"\\",
)  # fmt: skip


def seeds() -> list[bytes]:
    """Every body that was recorded."""
    rows = json.loads(RECORDED.read_text("utf-8"))["rows"]
    return [row["body"].encode("utf-8", "surrogatepass") for row in rows]


def mutations(randomness: Random, times: int) -> Iterator[bytes]:
    """Recorded bodies, cut, joined, with tokens put in and bytes changed."""
    bodies = seeds()
    for _ in range(times):
        body = randomness.choice(bodies)
        for _ in range(randomness.randint(1, 3)):
            at, until = sorted(randomness.randint(0, len(body)) for _ in range(2))
            match randomness.randrange(4):
                case 0:
                    body = body[:at] + body[until:]
                case 1:
                    body = body[:at] + randomness.choice(TOKENS) + body[at:]
                case 2:
                    body = body[:at] + randomness.choice(TOKENS) + body[min(until, at + 12) :]
                case _:
                    body = body[:at] + bytes([randomness.randrange(256)]) + body[at + 1 :]
        yield body


def hold(body: bytes) -> str:
    """Read it as the functions do. Raises when a promise is broken; gives the kind of message it was read as."""
    from shared.daraja.callback_reader import CallbackSuccess, CallbackUnreadable, read_message
    from shared.daraja.result_codes import CALLBACK_FAILURES
    from shared.settlement import reported

    message, receipts = read_message(body)
    assert (message, receipts) == read_message(body)
    assert len(receipts) == len(set(receipts)) <= 20
    assert all(re.fullmatch("[!-~]{1,50}", receipt) for receipt in receipts)
    if isinstance(message, CallbackUnreadable):
        assert message.reason.isprintable()
        return "unreadable"
    report = reported(message, "callback")
    for text in (message.description, report.result_code, report.result_desc, report.payer):
        assert text is None or text.isprintable()  # no NUL and no half of a pair: PostgreSQL can store it
    for each in (message.ids.merchant_request_id, message.ids.checkout_request_id):
        assert each is None or re.fullmatch("[!-~]{1,255}", each)
    assert re.search("[0-9*]{9,}", message.description) is None  # nothing that could be a phone number
    if not isinstance(message, CallbackSuccess):
        assert message.code != "0"
        assert (message.code in CALLBACK_FAILURES) == (report.name == "Declined")
        return report.name
    assert report.name == "Confirmed"
    for amount_kes in (message.amount_kes, message.balance_kes):
        assert amount_kes is None or Decimal(0) <= amount_kes < 100_000_000
        assert amount_kes is None or amount_kes == round(amount_kes, 2)
    assert message.receipt is None or message.receipt in receipts or len(receipts) == 20
    return "Confirmed"


def main(arguments: list[str]) -> None:
    import atheris  # type: ignore[import-untyped]

    with atheris.instrument_imports(include=["shared"]):
        import shared.daraja.callback_reader
        import shared.settlement  # noqa: F401
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for number, body in enumerate(seeds()):
        (folder / f"recorded-{number:03}").write_bytes(body)
    words = folder.with_suffix(".dict")
    words.write_text("".join(f'"{_escaped(token)}"\n' for token in TOKENS), "ascii")
    crashes = f"-artifact_prefix={folder.parent}/"
    atheris.Setup(["fuzz_callback", str(folder), f"-dict={words}", crashes, *arguments[1:]], hold_for)
    atheris.Fuzz()


def hold_for(body: bytes) -> None:
    hold(body)


def _escaped(token: bytes) -> str:
    return "".join(f"\\x{byte:02X}" for byte in token)


if __name__ == "__main__":
    main(sys.argv[1:])
