"""Why a payment failed and what the customer does now, in both languages, by Daraja's result code.

English is what the checkout page says (shared/daraja/result_codes.py). Here is the same in Swahili.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from shared.daraja.result_codes import describe
from shared.language import Lang


@dataclass(frozen=True, slots=True)
class Reason:
    message: str
    next_step: str
    may_still_arrive: bool = False
    """Money has been seen to move after this answer, or there was none: nobody may say that none did."""


_TRY_AGAIN = "Unaweza kujaribu tena sasa."
_ASK_THE_SHOP = "Tafadhali wasiliana na duka. Kujaribu tena hakutasaidia hadi duka litakaporekebisha tatizo hili."
_WAIT_THEN_TRY = "Subiri dakika mbili, kisha ujaribu tena."
_PHONE_ON_THEN_TRY = (
    "Hakikisha kwamba simu yako imewashwa, skrini imefunguliwa na ina mtandao, kisha ujaribu tena. "
    "Ukipata SMS ya M-Pesa inayosema kwamba umelipa, usilipe tena: duka pia litaona malipo hayo."
)
_PIN_WITH_CARE = "Jaribu tena na uweke PIN yako ya M-Pesa kwa makini."
_NO_PROMPT = "M-Pesa haikuweza kutuma ombi la malipo kwenye simu yako."
_TRY_THEN_ASK = "Jaribu tena. Ikitokea tena, wasiliana na duka."
_CARE_OR_OTHER_NUMBER = "Uliza huduma kwa wateja ya Safaricom kuhusu {}, au ulipe kwa nambari nyingine ya M-Pesa."

SWAHILI: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "1": (
            "Salio lako la M-Pesa halikutosha.",
            "Ongeza pesa kwenye akaunti yako ya M-Pesa, kisha ujaribu tena.",
        ),
        "2": (
            "Kiasi hiki ni kidogo kuliko kiwango cha chini ambacho M-Pesa inaruhusu kwa malipo haya.",
            "Lipa kiasi kikubwa zaidi, au uliza duka kuhusu njia nyingine ya kulipa.",
        ),
        "3": (
            "Kiasi hiki ni kikubwa kuliko kiwango cha juu ambacho M-Pesa inaruhusu kwa mara moja.",
            "Uliza duka kama unaweza kulipa kidogo kidogo.",
        ),
        "4": (
            "Kwa malipo haya ungepita kiwango chako cha M-Pesa cha siku ya leo.",
            "Jaribu tena kesho, au ulipe kwa nambari nyingine ya M-Pesa.",
        ),
        "8": ("Akaunti ya M-Pesa ya duka haiwezi kupokea malipo haya kwa sasa.", _ASK_THE_SHOP),
        "17": ("M-Pesa haikubali kiasi kile kile mara mbili ndani ya dakika mbili.", _WAIT_THEN_TRY),
        "26": ("M-Pesa ina shughuli nyingi kwa sasa.", _WAIT_THEN_TRY),
        "1001": (
            "Kuna muamala mwingine wa M-Pesa unaoendelea kwenye simu yako.",
            "Ukamilishe au uughairi, subiri dakika mbili, kisha ujaribu tena.",
        ),
        "1019": ("Muda wa ombi la malipo uliisha kabla ya malipo kukamilika.", _PHONE_ON_THEN_TRY),
        "1025": (_NO_PROMPT, _TRY_THEN_ASK),
        "1031": ("Ulighairi malipo kwenye simu yako.", _TRY_AGAIN),
        "1032": ("Malipo yalighairiwa kwenye simu yako.", _TRY_AGAIN),
        "1036": ("Simu yako haikupatikana.", _PHONE_ON_THEN_TRY),
        "1037": ("Simu yako haikujibu ombi la malipo.", _PHONE_ON_THEN_TRY),
        "1101": (_NO_PROMPT, _TRY_THEN_ASK),
        "1102": (_NO_PROMPT, _TRY_THEN_ASK),
        "2001": ("PIN ya M-Pesa haikuwa sahihi, au nambari hii haijasajiliwa kwa M-Pesa.", _PIN_WITH_CARE),
        "2006": (
            "Akaunti hii ya M-Pesa haiwezi kutumika kwa malipo haya.",
            _CARE_OR_OTHER_NUMBER.format("akaunti yako"),
        ),
        "2008": ("M-Pesa haikuweza kuthibitisha kwamba ni wewe.", _PIN_WITH_CARE),
        "2026": ("Muda wa M-Pesa kwenye simu yako uliisha kabla hujamaliza.", _TRY_AGAIN),
        "2028": ("Duka halijawezeshwa kupokea malipo ya aina hii.", _ASK_THE_SHOP),
        "8006": (
            "PIN yako ya M-Pesa imefungwa.",
            "Pigia simu huduma kwa wateja ya Safaricom ili ifunguliwe, kisha ujaribu tena.",
        ),
        "9999": (_NO_PROMPT, _PHONE_ON_THEN_TRY),
        "E3008": (
            "M-Pesa haikuweza kupokea malipo haya kutoka kwa laini yako.",
            _CARE_OR_OTHER_NUMBER.format("laini yako"),
        ),
        "SFC_IC0003": ("M-Pesa haitambui nambari ya till au paybill ya duka.", _ASK_THE_SHOP),
    }
)
NOT_TAKEN: Mapping[Lang, Reason] = MappingProxyType(
    {
        "en": Reason(
            "M-Pesa did not take the payment.",
            "You can try again. But if an M-Pesa SMS says that you paid, do not: answer this email.",
            may_still_arrive=True,
        ),
        "sw": Reason(
            "M-Pesa haikupokea malipo haya.",
            "Unaweza kujaribu tena. Lakini ukipata SMS ya M-Pesa inayosema kwamba umelipa, usilipe tena: "
            "jibu barua pepe hii.",
            may_still_arrive=True,
        ),
    }
)
"""No code of Safaricom's that anybody has explained: a person said so, who can be wrong about what left a phone."""


def reason(code: str | None, lang: Lang) -> Reason:
    """For a failing code; where there is none, or nobody has explained it, in general."""
    known = describe(code) if code else None
    if known is None:
        return NOT_TAKEN[lang]
    words = SWAHILI[known.code] if lang == "sw" else (known.message, known.next_action)
    return Reason(*words, known.may_be_taken_back)
