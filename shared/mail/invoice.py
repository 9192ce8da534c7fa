"""The invoice a customer gets by e-mail once a payment is paid: one page for people, the same as plain text.

The whole phone number is not in it, and whatever the customer typed is shown as text only. It says what it is not: a
tax invoice, which only KRA's eTIMS makes.
"""

from __future__ import annotations

from datetime import datetime
from html import escape

from shared.daraja.models import EAT
from shared.mail.letters import Letter
from shared.mail.mailer import Email, one_line
from shared.money import in_words
from shared.phone import masked

NOT_A_TAX_INVOICE = "This is a payment receipt, not a KRA eTIMS tax invoice."


def render(data: Letter) -> Email:
    """The e-mail to send."""
    amount = in_words(data.amount_kes)
    shop = one_line(data.shop_name)
    rows = _rows(data)
    return Email(
        to_address=data.customer_email,
        to_name=data.customer_name,
        subject=f"Invoice {one_line(data.invoice_number or '')} from {shop}: {amount}, paid",
        text=_text(data, shop, amount, rows),
        html=_html(data, shop, amount, rows),
        from_name=shop,
    )


def _rows(data: Letter) -> list[tuple[str, str]]:
    customer = one_line(data.customer_name or "")
    return [
        ("Invoice number", one_line(data.invoice_number or "")),
        ("Date", _day(data.invoice_date or data.at)),
        *([("Customer", customer)] if customer else []),
        ("Paid from", f"M-Pesa {masked(data.customer_phone)}"),
        ("For", one_line(data.description or "") or f"Order {one_line(data.account_reference)}"),
        ("Reference", one_line(data.account_reference)),
        ("Paid", f"{_day(data.at)}, {data.at.astimezone(EAT):%H:%M} EAT"),
        ("M-Pesa receipt", one_line(data.receipt or "") or "to follow"),
    ]


def _day(moment: datetime) -> str:
    there = moment.astimezone(EAT)
    return f"{there.day} {there:%B %Y}"


def _thanks(data: Letter, shop: str) -> str:
    name = one_line(data.customer_name or "")
    return f"Asante{f' {name}' if name else ''}! {shop} has received your payment."


def _text(data: Letter, shop: str, amount: str, rows: list[tuple[str, str]]) -> str:
    width = max(len(label) for label, _ in rows) + 2
    address = one_line(data.shop_address or "")
    lines = [
        f"INVOICE: {shop}",
        *([address] if address else []),
        "",
        _thanks(data, shop),
        "",
        *(f"{label + ':':<{width}}{value}" for label, value in rows),
        "",
        f"{'Total paid:':<{width}}{amount}",
        "",
        NOT_A_TAX_INVOICE,
        "",
        f"Questions? Answer this e-mail, or write to {one_line(data.reply_to)}.",
        f"Payment {one_line(data.transaction_id)}",
    ]
    return "\n".join(lines) + "\n"


def _html(data: Letter, shop: str, amount: str, rows: list[tuple[str, str]]) -> str:
    address = one_line(data.shop_address or "")
    table = "\n".join(
        f'<tr><td style="padding:7px 12px 7px 0;color:#5b6762;vertical-align:top">{escape(label)}</td>'
        f'<td style="padding:7px 0;text-align:right;word-break:break-word">{escape(value)}</td></tr>'
        for label, value in rows
    )
    return f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Invoice {escape(one_line(data.invoice_number or ""))}</title>
</head>
<body style="margin:0;padding:0;background:#f2f5f3">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" style="background:#f2f5f3">
<tr><td align="center" style="padding:24px 12px">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" style="max-width:560px;background:#ffffff;\
border:1px solid #dde4e0;border-radius:12px;font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;\
font-size:15px;line-height:1.45;color:#17211c">
<tr><td style="padding:26px 28px 0">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0"><tr>
<td style="font-size:20px;font-weight:700">{escape(shop)}</td>
<td align="right"><span style="display:inline-block;padding:4px 12px;border-radius:999px;background:#dff3e4;\
color:#116329;font-size:13px;font-weight:700;letter-spacing:.04em">PAID</span></td>
</tr></table>
{f'<div style="color:#5b6762;font-size:13px">{escape(address)}</div>' if address else ""}
<p style="margin:18px 0 0">{escape(_thanks(data, shop))}</p>
</td></tr>
<tr><td style="padding:18px 28px">
<div style="padding:18px;border-radius:10px;background:#f2f9f4;text-align:center">
<div style="color:#5b6762;font-size:13px">Total paid</div>
<div style="font-size:30px;font-weight:700">{escape(amount)}</div>
</div>
</td></tr>
<tr><td style="padding:0 28px 12px">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" style="font-size:14px">
{table}
</table>
</td></tr>
<tr><td style="padding:16px 28px 24px;border-top:1px solid #dde4e0;color:#5b6762;font-size:12px">
{escape(NOT_A_TAX_INVOICE)}<br>
Questions? Answer this e-mail, or write to
<a href="mailto:{escape(one_line(data.reply_to))}" style="color:#116329">{escape(one_line(data.reply_to))}</a>.<br>
Payment {escape(one_line(data.transaction_id))}
</td></tr>
</table>
</td></tr>
</table>
</body>
</html>
"""
