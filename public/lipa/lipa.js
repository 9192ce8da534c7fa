/**
 * <lipa-pay>: an M-Pesa payment on any page. One long file because a shop links one: no build step, no dependency.
 *
 *   <script type="module" src="/lipa/lipa.js"></script>
 *   <lipa-pay items="tea:2,honey:1">Shown until this script has loaded, and where it is lost.</lipa-pay>
 *
 *   form → sending → waiting → paid | failed | under review | refunded
 *             ↓         ↓
 *       unreachable   stopped (no answer after five minutes; the customer can look again)
 *
 * An attempt has one Idempotency-Key, also when it is repeated or continued after a reload. Only the server says that a
 * payment failed; if it is paid after all, the element shows that. A new attempt begins only when the customer asks for
 * it, after the status of the earlier one was read once more. What is kept belongs to one order: another order of the
 * same tab never shows it. docs/checkout-page.md has the attributes, events, labels and CSS variables.
 * A new field of the form begins in shared/orders.py, which reads it.
 */

// Words ---------------------------------------------------------------------------------------------------------------

/** A shop replaces one by `<span data-label="NAME">…</span>` inside the element. */
export const WORDS = {
  en: {
    title: "Pay with M-Pesa",
    total: "Total",
    valid_until: "To be paid until {date}.",
    phone: "M-Pesa phone number",
    phone_hint: "The prompt comes to this phone. For example 0712 345 678.",
    contact: "Invoice by e-mail",
    optional: "(optional)",
    name: "Name",
    email: "E-mail",
    note: "Note to the shop",
    pay: "Pay {amount}",
    pay_again_in: "Pay again in {time}",
    pin: "You confirm with your M-Pesa PIN, on your phone only. Never type it on a web page.",
    loading_title: "Loading the prices",
    moment: "One moment.",
    lost_title: "The prices cannot be loaded",
    lost_text: "Check your internet connection. Nothing was sent, and nothing was charged.",
    try_now: "Try now",
    unpayable_title: "This order cannot be paid here",
    unpayable_text: "Nothing was sent, and nothing was charged. Please contact the shop.",
    sending_title: "Sending the request",
    sending_text: "One moment. On a slow network this can take half a minute.",
    checking_title: "Looking up your payment",
    waiting_title: "Check your phone",
    waiting_text: "Enter your M-Pesa PIN on {phone} to pay {amount}.",
    your_phone: "your phone",
    waiting_for: "Waiting for",
    order: "Order",
    help_title: "No prompt on your phone?",
    help_1: "Unlock the phone and wait a little: a prompt can take half a minute.",
    help_2: "Check that it is switched on, has network, and that its M-Pesa line is {phone}.",
    help_3: "Close any other M-Pesa prompt or menu that is open on it.",
    help_4: "Stay on this page. M-Pesa ends a request that nobody answers; then you can try again here.",
    silent: "No connection right now. We keep trying; your payment is not affected.",
    unreachable_title: "We cannot reach the shop",
    unreachable_text:
      "Check your internet connection. We keep trying with the same request, so you cannot be asked to pay twice.",
    unreachable_pin: "If an M-Pesa prompt for {amount} is on your phone already, you may enter your PIN.",
    next_try: "Next try in {time}",
    trying: "Trying…",
    when_online: "Try again when you are back online.",
    back: "Back to the shop",
    stopped_title: "No answer from M-Pesa yet",
    stopped_text:
      "If you entered your PIN, your payment is not lost. M-Pesa will tell us, sometimes late, and we put it on your order.",
    look_first: "Please look for an M-Pesa message on your phone before you pay again.",
    check_again: "Check again",
    checked_at: "Last checked at {time}.",
    not_reached_at: "The shop could not be reached at {time}.",
    paid_title: "Paid. Asante!",
    receipt_title: "Payment receipt",
    customer: "Customer",
    for: "For",
    paid: "Paid",
    paid_from: "Paid from",
    receipt: "M-Pesa receipt",
    total_paid: "Total paid",
    to_follow: "To follow",
    no_tax_invoice: "This is a payment receipt, not a KRA eTIMS tax invoice.",
    receipt_follows: "M-Pesa has confirmed the payment. Its receipt number is still on the way.",
    print: "Print the receipt",
    invoice_title: "Invoice by e-mail?",
    invoice_email: "Your e-mail address",
    invoice_send: "Send the invoice",
    invoice_sending: "Sending…",
    invoice_sent: "The invoice is on its way to your e-mail address.",
    invoice_unclear:
      "We have not heard whether the shop got your request. You can send it again. If both arrive, the invoice goes to the address you gave first.",
    invoice_not_paid: "The shop cannot send an invoice: this payment no longer stands as paid.",
    invoice_too_often:
      "The invoice was sent three times today. Please look for it in your mail, also in the spam folder, or ask again tomorrow.",
    invoice_no_more:
      "The invoice was sent ten times and is not sent any more. Please look for it in your mail, also in the spam folder, or ask the shop.",
    invoice_too_many:
      "Many invoices were asked for from your connection. Please wait a while, or try another connection.",
    invoice_other: "The shop did not accept the request. Your payment is not affected.",
    invoice_unavailable:
      "The shop cannot take the request right now. Your payment is not affected. Please try again in a few minutes.",
    failed_title: "Not paid",
    try_again: "Try again",
    edit: "Change the number",
    review_title: "We are checking your payment",
    review_text: "We have your payment on record.",
    not_again: "Please do not pay again.",
    amount: "Amount",
    refunded_title: "Refunded",
    missing_title: "We cannot find this payment",
    missing_text:
      "Please look for an M-Pesa message on your phone before you pay again. If you have one, send it to the shop with your order number.",
    look_again: "Look again",
    wrong_amount: "The amount must be a whole number of shillings, from 1 to 250,000.",
    wrong_reference: "An order number is 1 to 12 letters and digits. {text} is none.",
    wrong_items: "The order is not written as it should be: {text}",
    wrong_order: "This payment link is not complete. Please ask the shop for a new one.",
    unknown_item: "The shop does not sell this: {text}.",
    sold_out: "Not available now: {text}.",
    too_many_of: "At most {most} at once: {text}.",
    needs: "{text} can only be bought together with: {others}.",
    nothing: "Nothing is chosen yet.",
    too_much: "M-Pesa takes at most KES 250,000 at once.",
    enter_phone: "Enter a Kenyan mobile number, like 0712 345 678",
    enter_email: "Enter an e-mail address, like wanjiku@example.com",
    enter: "Please fill in: {label}",
    refused_invalid: ["Please check what you entered", ""],
    refused_too_soon: [
      "Please wait before you pay again",
      "A request for this payment went to the phone a moment ago. Look for its M-Pesa prompt or message first.",
    ],
    refused_already_paid: [
      "This was paid before",
      "An earlier payment for this order was made. Do not pay again: look for its M-Pesa message, or ask the shop.",
    ],
    refused_price_changed: ["The price has changed", "This order now costs {amount}. Press the button if you agree."],
    refused_order_invalid: [
      "This payment link is not valid",
      "It is incomplete, or its time is over. Nothing was sent to your phone. Please ask the shop for a new one.",
    ],
    refused_too_many: ["Please wait before you pay", "Nothing was sent to your phone."],
    refused_above_limit: ["This shop cannot take this payment", "Nothing was sent to your phone."],
    refused_prompt_open: [
      "An M-Pesa prompt is open on this phone",
      "Finish it or cancel it on the phone, wait a moment, then pay again.",
    ],
    refused_daraja_rejected: [
      "M-Pesa did not accept the request",
      "Nothing was charged. Check the phone number, then pay again. If it happens again, please tell the shop.",
    ],
    refused_unavailable: [
      "Payments are not available right now",
      "Nothing was sent to your phone and nothing was charged. Please try again in a few minutes.",
    ],
    refused_recovering: [
      "This shop takes no payments for a while",
      "Nothing was sent to your phone and nothing was charged. If you paid for this already, keep the M-Pesa message and do not pay again: the shop will find your payment.",
    ],
    refused_misconfigured: [
      "This shop cannot take payments yet",
      "Nothing was sent to your phone and nothing was charged. The shop has to complete its settings.",
    ],
    refused_idempotency_mismatch: [
      "The order changed while it was being sent",
      "Look for an M-Pesa prompt or message on the phone. If there is none, check the order and pay again.",
    ],
    refused_other: [
      "The request was not accepted",
      "Nothing was sent to your phone. Please check your order and try again.",
    ],
  },
  sw: {
    title: "Lipa kwa M-Pesa",
    total: "Jumla",
    valid_until: "Ilipwe kabla ya mwisho wa {date}.",
    phone: "Nambari ya simu ya M-Pesa",
    phone_hint: "Ombi la malipo litakuja kwenye simu hii. Kwa mfano 0712 345 678.",
    contact: "Ankara kwa barua pepe",
    optional: "(si lazima)",
    name: "Jina",
    email: "Barua pepe",
    note: "Ujumbe kwa duka",
    pay: "Lipa {amount}",
    pay_again_in: "Lipa tena baada ya {time}",
    pin: "Unathibitisha kwa PIN yako ya M-Pesa, kwenye simu yako tu. Usiiandike kamwe kwenye tovuti.",
    loading_title: "Bei zinapakiwa",
    moment: "Subiri kidogo.",
    lost_title: "Bei haziwezi kupakiwa",
    lost_text: "Angalia mtandao wako. Hakuna ombi lililotumwa, na hakuna pesa zilizotozwa.",
    try_now: "Jaribu sasa",
    unpayable_title: "Oda hii haiwezi kulipwa hapa",
    unpayable_text: "Hakuna ombi lililotumwa, na hakuna pesa zilizotozwa. Tafadhali wasiliana na duka.",
    sending_title: "Ombi linatumwa",
    sending_text: "Subiri kidogo. Mtandao ukiwa wa polepole, huenda ikachukua nusu dakika.",
    checking_title: "Malipo yako yanatafutwa",
    waiting_title: "Angalia simu yako",
    waiting_text: "Weka PIN yako ya M-Pesa kwenye {phone} ili kulipa {amount}.",
    your_phone: "simu yako",
    waiting_for: "Umesubiri",
    order: "Oda",
    help_title: "Hujapata ombi kwenye simu yako?",
    help_1: "Fungua skrini ya simu na usubiri kidogo: ombi linaweza kuchukua nusu dakika.",
    help_2: "Hakikisha kwamba simu imewashwa, ina mtandao, na laini yake ya M-Pesa ni {phone}.",
    help_3: "Funga ombi au menyu nyingine yoyote ya M-Pesa iliyo wazi kwenye simu.",
    help_4: "Kaa kwenye ukurasa huu. M-Pesa humaliza ombi lisilojibiwa; kisha unaweza kujaribu tena hapa.",
    silent: "Hakuna mtandao kwa sasa. Tunaendelea kujaribu; malipo yako hayaathiriki.",
    unreachable_title: "Hatuwezi kufikia duka",
    unreachable_text: "Angalia mtandao wako. Tunaendelea kujaribu na ombi lile lile, kwa hivyo huwezi kuombwa kulipa mara mbili.",
    unreachable_pin: "Kama ombi la M-Pesa la {amount} tayari liko kwenye simu yako, unaweza kuweka PIN yako.",
    next_try: "Tutajaribu tena baada ya {time}",
    trying: "Tunajaribu…",
    when_online: "Jaribu tena mtandao ukirudi.",
    back: "Rudi dukani",
    stopped_title: "Bado hakuna jibu kutoka M-Pesa",
    stopped_text: "Kama uliweka PIN yako, malipo yako hayajapotea. M-Pesa itatujulisha, wakati mwingine kwa kuchelewa, nasi tutayaweka kwenye oda yako.",
    look_first: "Tafadhali tafuta ujumbe wa M-Pesa kwenye simu yako kabla ya kulipa tena.",
    check_again: "Angalia tena",
    checked_at: "Iliangaliwa mwisho saa {time}.",
    not_reached_at: "Duka halikupatikana saa {time}.",
    paid_title: "Imelipwa. Asante!",
    receipt_title: "Stakabadhi ya malipo",
    customer: "Mteja",
    for: "Kwa ajili ya",
    paid: "Ililipwa",
    paid_from: "Ililipwa kutoka",
    receipt: "Stakabadhi ya M-Pesa",
    total_paid: "Jumla iliyolipwa",
    to_follow: "Itafuata",
    no_tax_invoice: "Hii ni stakabadhi ya malipo, si ankara ya kodi ya KRA eTIMS.",
    receipt_follows: "M-Pesa imethibitisha malipo. Nambari ya stakabadhi bado iko njiani.",
    print: "Chapisha stakabadhi",
    invoice_title: "Ankara kwa barua pepe?",
    invoice_email: "Anwani yako ya barua pepe",
    invoice_send: "Tuma ankara",
    invoice_sending: "Inatumwa…",
    invoice_sent: "Ankara iko njiani kwenda kwenye barua pepe yako.",
    invoice_unclear: "Hatujui kama duka lilipata ombi lako. Unaweza kulituma tena. Yote mawili yakifika, ankara itaenda kwenye anwani uliyotoa kwanza.",
    invoice_not_paid: "Duka haliwezi kutuma ankara: malipo haya hayahesabiki tena kuwa yamelipwa.",
    invoice_too_often: "Ankara imetumwa mara tatu leo. Tafadhali itafute kwenye barua pepe yako, pia kwenye taka (spam), au uiombe tena kesho.",
    invoice_no_more: "Ankara imetumwa mara kumi na haitumwi tena. Tafadhali itafute kwenye barua pepe yako, pia kwenye taka (spam), au uliza duka.",
    invoice_too_many: "Ankara nyingi ziliombwa kutoka kwa mtandao wako. Tafadhali subiri kidogo, au tumia mtandao mwingine.",
    invoice_other: "Duka halikukubali ombi hili. Malipo yako hayaathiriki.",
    invoice_unavailable: "Duka haliwezi kupokea ombi hili kwa sasa. Malipo yako hayaathiriki. Tafadhali jaribu tena baada ya dakika chache.",
    failed_title: "Haijalipwa",
    try_again: "Jaribu tena",
    edit: "Badilisha nambari",
    review_title: "Tunaangalia malipo yako",
    review_text: "Malipo yako yamerekodiwa.",
    not_again: "Tafadhali usilipe tena.",
    amount: "Kiasi",
    refunded_title: "Pesa zimerudishwa",
    missing_title: "Hatuyaoni malipo haya",
    missing_text: "Tafadhali tafuta ujumbe wa M-Pesa kwenye simu yako kabla ya kulipa tena. Ukiupata, utume kwa duka pamoja na nambari ya oda yako.",
    look_again: "Tafuta tena",
    wrong_amount: "Kiasi kiwe shilingi kamili, kutoka 1 hadi 250,000.",
    wrong_reference: "Nambari ya oda ni herufi na tarakimu 1 hadi 12. {text} si nambari ya oda.",
    wrong_items: "Oda haijaandikwa inavyotakiwa: {text}",
    wrong_order: "Kiungo hiki cha malipo hakijakamilika. Tafadhali omba duka kiungo kipya.",
    unknown_item: "Duka haliuzi hiki: {text}.",
    sold_out: "Haipatikani kwa sasa: {text}.",
    too_many_of: "Si zaidi ya {most} kwa mara moja: {text}.",
    needs: "{text} hununuliwa tu pamoja na: {others}.",
    nothing: "Bado hujachagua chochote.",
    too_much: "M-Pesa hupokea hadi KES 250,000 kwa mara moja.",
    enter_phone: "Weka nambari ya simu ya Kenya, kama 0712 345 678",
    enter_email: "Weka anwani ya barua pepe, kama wanjiku@example.com",
    enter: "Tafadhali jaza: {label}",
    refused_invalid: ["Tafadhali angalia ulichoandika", ""],
    refused_too_soon: [
      "Tafadhali subiri kabla ya kulipa tena",
      "Ombi la malipo haya lilitumwa kwenye simu muda mfupi uliopita. Kwanza tafuta ombi au ujumbe wake wa M-Pesa.",
    ],
    refused_already_paid: [
      "Hii ililipwa hapo awali",
      "Malipo ya awali ya oda hii yalifanyika. Usilipe tena: tafuta ujumbe wake wa M-Pesa, au uliza duka.",
    ],
    refused_price_changed: ["Bei imebadilika", "Oda hii sasa ni {amount}. Bonyeza kitufe kama unakubali."],
    refused_order_invalid: [
      "Kiungo hiki cha malipo si halali",
      "Hakijakamilika, au muda wake umeisha. Hakuna ombi lililotumwa kwenye simu yako. Tafadhali omba duka kiungo kipya.",
    ],
    refused_too_many: [
      "Tafadhali subiri kabla ya kulipa",
      "Maombi mengi yalitumwa. Hakuna ombi lililotumwa kwenye simu yako sasa.",
    ],
    refused_above_limit: [
      "Duka hili haliwezi kupokea malipo haya",
      "Kiasi kinapita kiwango cha duka. Hakuna ombi lililotumwa kwenye simu yako.",
    ],
    refused_prompt_open: [
      "Ombi la M-Pesa liko wazi kwenye simu hii",
      "Likamilishe au lighairi kwenye simu, subiri kidogo, kisha ulipe tena.",
    ],
    refused_daraja_rejected: [
      "M-Pesa haikukubali ombi hili",
      "Hakuna pesa zilizotozwa. Angalia nambari ya simu, kisha ulipe tena. Ikitokea tena, tafadhali lijulishe duka.",
    ],
    refused_unavailable: [
      "Malipo hayapatikani kwa sasa",
      "Hakuna ombi lililotumwa kwenye simu yako na hakuna pesa zilizotozwa. Tafadhali jaribu tena baada ya dakika chache.",
    ],
    refused_recovering: [
      "Duka hili halipokei malipo kwa muda",
      "Hakuna ombi lililotumwa kwenye simu yako na hakuna pesa zilizotozwa. Kama ulikwisha kulipia oda hii, hifadhi ujumbe wa M-Pesa na usilipe tena: duka litayapata malipo yako.",
    ],
    refused_misconfigured: [
      "Duka hili bado haliwezi kupokea malipo",
      "Hakuna ombi lililotumwa kwenye simu yako na hakuna pesa zilizotozwa. Duka linahitaji kukamilisha mipangilio yake.",
    ],
    refused_idempotency_mismatch: [
      "Oda ilibadilika ilipokuwa ikitumwa",
      "Tafuta ombi au ujumbe wa M-Pesa kwenye simu. Kama hakuna, angalia oda na ulipe tena.",
    ],
    refused_other: [
      "Ombi halikukubaliwa",
      "Hakuna ombi lililotumwa kwenye simu yako. Tafadhali angalia oda yako na ujaribu tena.",
    ],
    // The server's own sentences are English: these stand in their place.
    unclear: "M-Pesa bado haijatujulisha kama ombi lilitumwa. Subiri kidogo.",
    review_next: "Tafadhali hifadhi ujumbe wowote wa M-Pesa ulioupata.",
    refunded_text: "Pesa zote zilirudishwa kwenye simu yako.",
  },
};

/** Why a payment failed, by M-Pesa's code; the same words as in the letters (shared/mail/letters.py). */
const SW_TRY_AGAIN = "Unaweza kujaribu tena sasa.";
const SW_ASK_THE_SHOP = "Tafadhali wasiliana na duka. Kujaribu tena hakutasaidia hadi duka litakaporekebisha tatizo hili.";
const SW_WAIT_THEN_TRY = "Subiri dakika mbili, kisha ujaribu tena.";
const SW_PHONE_ON_THEN_TRY =
  "Hakikisha kwamba simu yako imewashwa, skrini imefunguliwa na ina mtandao, kisha ujaribu tena. " +
  "Ukipata SMS ya M-Pesa inayosema kwamba umelipa, usilipe tena: duka pia litaona malipo hayo.";
const SW_PIN_WITH_CARE = "Jaribu tena na uweke PIN yako ya M-Pesa kwa makini.";
const SW_NO_PROMPT = "M-Pesa haikuweza kutuma ombi la malipo kwenye simu yako.";
const SW_TRY_THEN_ASK = "Jaribu tena. Ikitokea tena, wasiliana na duka.";
const swOtherNumber = (what) => `Uliza huduma kwa wateja ya Safaricom kuhusu ${what}, au ulipe kwa nambari nyingine ya M-Pesa.`;
export const SWAHILI_REASONS = {
  1: ["Salio lako la M-Pesa halikutosha.", "Ongeza pesa kwenye akaunti yako ya M-Pesa, kisha ujaribu tena."],
  2: [
    "Kiasi hiki ni kidogo kuliko kiwango cha chini ambacho M-Pesa inaruhusu kwa malipo haya.",
    "Lipa kiasi kikubwa zaidi, au uliza duka kuhusu njia nyingine ya kulipa.",
  ],
  3: [
    "Kiasi hiki ni kikubwa kuliko kiwango cha juu ambacho M-Pesa inaruhusu kwa mara moja.",
    "Uliza duka kama unaweza kulipa kidogo kidogo.",
  ],
  4: [
    "Kwa malipo haya ungepita kiwango chako cha M-Pesa cha siku ya leo.",
    "Jaribu tena kesho, au ulipe kwa nambari nyingine ya M-Pesa.",
  ],
  8: ["Akaunti ya M-Pesa ya duka haiwezi kupokea malipo haya kwa sasa.", SW_ASK_THE_SHOP],
  17: ["M-Pesa haikubali kiasi kile kile mara mbili ndani ya dakika mbili.", SW_WAIT_THEN_TRY],
  26: ["M-Pesa ina shughuli nyingi kwa sasa.", SW_WAIT_THEN_TRY],
  1001: [
    "Kuna muamala mwingine wa M-Pesa unaoendelea kwenye simu yako.",
    "Ukamilishe au uughairi, subiri dakika mbili, kisha ujaribu tena.",
  ],
  1019: ["Muda wa ombi la malipo uliisha kabla ya malipo kukamilika.", SW_PHONE_ON_THEN_TRY],
  1025: [SW_NO_PROMPT, SW_TRY_THEN_ASK],
  1031: ["Ulighairi malipo kwenye simu yako.", SW_TRY_AGAIN],
  1032: ["Malipo yalighairiwa kwenye simu yako.", SW_TRY_AGAIN],
  1036: ["Simu yako haikupatikana.", SW_PHONE_ON_THEN_TRY],
  1037: ["Simu yako haikujibu ombi la malipo.", SW_PHONE_ON_THEN_TRY],
  1101: [SW_NO_PROMPT, SW_TRY_THEN_ASK],
  1102: [SW_NO_PROMPT, SW_TRY_THEN_ASK],
  2001: ["PIN ya M-Pesa haikuwa sahihi, au nambari hii haijasajiliwa kwa M-Pesa.", SW_PIN_WITH_CARE],
  2006: ["Akaunti hii ya M-Pesa haiwezi kutumika kwa malipo haya.", swOtherNumber("akaunti yako")],
  2008: ["M-Pesa haikuweza kuthibitisha kwamba ni wewe.", SW_PIN_WITH_CARE],
  2026: ["Muda wa M-Pesa kwenye simu yako uliisha kabla hujamaliza.", SW_TRY_AGAIN],
  2028: ["Duka halijawezeshwa kupokea malipo ya aina hii.", SW_ASK_THE_SHOP],
  8006: [
    "PIN yako ya M-Pesa imefungwa.",
    "Pigia simu huduma kwa wateja ya Safaricom ili ifunguliwe, kisha ujaribu tena.",
  ],
  9999: [SW_NO_PROMPT, SW_PHONE_ON_THEN_TRY],
  E3008: ["M-Pesa haikuweza kupokea malipo haya kutoka kwa laini yako.", swOtherNumber("laini yako")],
  SFC_IC0003: ["M-Pesa haitambui nambari ya till au paybill ya duka.", SW_ASK_THE_SHOP],
};
const SW_NOT_TAKEN = [
  "M-Pesa haikupokea malipo haya.",
  "Unaweza kujaribu tena. Lakini ukipata SMS ya M-Pesa inayosema kwamba umelipa, usilipe tena: wasiliana na duka.",
];

// Times and limits ----------------------------------------------------------------------------------------------------

const PATIENCE_MS = 5 * 60_000;
const OFFER_HELP_AFTER_S = 30;
const LONGEST_PAUSE_S = 60;
/** A longer wait is named, not counted down. */
const HOLDS_AT_MOST_S = 15 * 60;
/** How often an answer that may still change is read again: a receipt that follows, a late success. */
const SETTLING_PAUSE_S = { paid: 10, under_review: 15, failed: 20 };
const PUSH_TIMEOUT_MS = 40_000;
const STATUS_TIMEOUT_MS = 12_000;
const INVOICE_TIMEOUT_MS = 20_000;
const CATALOGUE_TIMEOUT_MS = 20_000;
const SMALLEST_KES = 1;
const LARGEST_KES = 250_000;
const MOST_OF_ONE = 20;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const REFERENCE = /^[A-Za-z0-9]{1,12}$/;
const REFERENCE_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const EMAIL = /^[^\s@]+@[^\s@]+\.[^\s@]+$/;
const FIELDS = {
  name: { name: "customer_name", autocomplete: "name", maxlength: 100 },
  email: { name: "customer_email", type: "email", inputmode: "email", autocomplete: "email", maxlength: 254 },
  note: { name: "note", autocomplete: "off", maxlength: 200 },
};

// What the shop's page may change: the variables. Nothing else of its CSS gets in, and none of this gets out. ----------

const STYLES = `
:host { display: block !important; }
:host([hidden]) { display: none !important; }
.lipa {
  all: initial;
  --accent: var(--lipa-accent, #0b6b45); --accent-text: var(--lipa-accent-text, #ffffff); --soft: var(--lipa-soft, #e3f1e9);
  --ink: var(--lipa-ink, #1c2a23); --muted: var(--lipa-muted, #55625b); --paper: var(--lipa-paper, #f6f4ee);
  --surface: var(--lipa-surface, #ffffff); --line: var(--lipa-line, #e3dfd4); --edge: var(--lipa-edge, #7f8b84);
  --red: var(--lipa-red, #a3262b); --red-soft: var(--lipa-red-soft, #fbecea);
  --amber: var(--lipa-amber, #7d5200); --amber-soft: var(--lipa-amber-soft, #fcf0d6);
  display: block; box-sizing: border-box; color: var(--ink); background: var(--surface); color-scheme: light;
  border: 1px solid var(--line); border-radius: var(--lipa-radius, 16px);
  max-width: var(--lipa-width, 28em); margin: 0 auto; padding: 1.25em min(1em, 5%) 1.5em; text-align: start;
  font: var(--lipa-size, medium)/1.5 var(--lipa-font, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif);
  overflow-wrap: anywhere; -webkit-text-size-adjust: 100%;
}
*, *::before, *::after { box-sizing: border-box; }
[hidden] { display: none !important; }
h2, h3, p, ul, dl, dd, fieldset { margin: 0; padding: 0; }
fieldset { border: 0; min-width: 0; }
svg { display: block; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.title:focus, .alert:focus, .note:focus { outline: none; }
.title { font-size: 1.375em; line-height: 1.25; font-weight: 650; letter-spacing: -0.01em; text-wrap: balance; }
.lead { font-size: 1.1em; text-wrap: balance; }
.small, .optional, .hint { color: var(--muted); font-size: 0.9em; font-weight: 400; }
.whole, .keep { white-space: nowrap; }

.summary { margin-top: 1em; padding: 0.875em min(1em, 5%); background: var(--paper); border-radius: 12px; }
.summary ul { list-style: none; }
.summary li, .total { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1em; font-variant-numeric: tabular-nums; }
.summary li > span + span, .total output { white-space: nowrap; margin-inline-start: auto; }
.summary > * + .total { margin-top: 0.5em; padding-top: 0.5em; border-top: 1px solid var(--line); }
.total { font-weight: 650; }
.letterhead { display: block; color: var(--muted); font-size: 0.9em; text-align: center; }

form { margin-top: 1.25em; display: grid; gap: 1.25em; }
fieldset { display: grid; gap: 0.875em; padding-top: 1.1em; border-top: 1px solid var(--line); }
legend { float: left; width: 100%; padding: 0; font-weight: 600; }
legend + * { clear: both; }
label { display: block; font-weight: 600; }
fieldset label { font-weight: 500; }
input, textarea { display: block; width: 100%; min-height: 48px; margin: 0.35em 0 0; padding: 0.6em 0.8em; border: 1px solid var(--edge); border-radius: 10px; background: var(--surface); color: inherit; font: inherit; }
textarea { min-height: 5em; resize: vertical; }
input:focus, textarea:focus { outline: 3px solid var(--accent); outline-offset: 0; border-color: transparent; }
[aria-invalid] { border: 2px solid var(--red); }
.phone { font-size: 1.2em; letter-spacing: 0.02em; font-variant-numeric: tabular-nums; }
.error { margin-top: 0.35em; color: var(--red); font-size: 0.95em; font-weight: 500; }
.alert { margin-top: 1em; padding: 0.875em 1em; border-inline-start: 4px solid var(--red); border-radius: 4px; background: var(--red-soft); }
.alert strong { display: block; font-weight: 650; }
.alert ul, .reasons { display: grid; gap: 0.35em; margin-top: 0.35em; list-style: none; }
.alert a { color: var(--red); }

button { display: block; width: 100%; min-height: 50px; margin: 0; padding: 0.7em min(1.25em, 5%); border: 1px solid transparent; border-radius: 12px; font: inherit; font-weight: 650; text-align: center; cursor: pointer; }
button.primary { background: var(--accent); color: var(--accent-text); }
button.primary:hover:enabled { filter: brightness(0.88); }
button.primary:disabled { background: var(--line); color: var(--muted); cursor: default; }
button.quiet { background: transparent; color: var(--accent); border-color: var(--line); }
button.quiet:hover { background: var(--soft); }

.screen { display: grid; gap: 0.9em; text-align: center; padding: 1em 0 0.25em; }
.screen > *, form > * { min-width: 0; }
.screen button + button { margin-top: -0.15em; }
.note { color: var(--muted); font-variant-numeric: tabular-nums; }
.note:empty { position: absolute; }
.screen.waiting .note { color: var(--amber); }
[role="timer"] { font-variant-numeric: tabular-nums; }
.badge { justify-self: center; display: grid; place-items: center; width: 60px; height: 60px; border-radius: 50%; font-size: 1.75em; font-weight: 650; line-height: 1; }
.badge.green { background: var(--soft); color: var(--accent); }
.badge.red { background: var(--red-soft); color: var(--red); }
.badge.amber { background: var(--amber-soft); color: var(--amber); }
.badge path { fill: none; stroke: currentColor; stroke-width: 2.5; stroke-linecap: round; stroke-linejoin: round; }
.spinner { justify-self: center; width: 52px; height: 52px; border: 4px solid var(--soft); border-top-color: var(--accent); border-radius: 50%; animation: turn 1s linear infinite; }
.handset { justify-self: center; display: grid; place-items: center; width: 58px; height: 96px; border: 3px solid var(--accent); border-radius: 14px; background: var(--surface); }
.handset span { width: 34px; height: 30px; border-radius: 8px; background: var(--accent); animation: breathe 2.4s ease-in-out infinite; }
@keyframes turn { to { transform: rotate(1turn); } }
@keyframes breathe { 0%, 100% { opacity: 0.25; transform: scale(0.92); } 50% { opacity: 1; transform: scale(1); } }

dl { display: grid; gap: 0.6em; margin: 0.25em 0; padding: 1em; background: var(--paper); border-radius: 12px; text-align: start; }
dl > div { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1em; }
dt { color: var(--muted); }
dd { font-weight: 600; font-variant-numeric: tabular-nums; user-select: all; margin-inline-start: auto; text-align: end; min-width: 0; overflow-wrap: anywhere; text-wrap: balance; }
.slip { display: grid; gap: 0.75em; padding: 1.1em min(1em, 5%) 1em; background: var(--paper); border-radius: 12px; text-align: start; }
.slip dl { margin: 0; padding: 0.75em 0; border-block: 1px solid var(--line); background: none; border-radius: 0; }
.slip [data-slot="what"] { white-space: pre-line; }
.slip .sum { padding-top: 0.6em; border-top: 1px solid var(--line); font-size: 1.1em; }
h3 { font-size: 1em; line-height: 1.3; font-weight: 600; }
.slip h3 { text-align: center; }
.ask { gap: 0.75em; margin: 0; padding: 1em min(1em, 5%); border: 1px solid var(--line); border-radius: 12px; text-align: start; }
details { text-align: start; border: 1px solid var(--line); border-radius: 12px; padding: 0 min(1em, 5%); }
summary { padding: 0.75em 0; font-weight: 600; color: var(--accent); cursor: pointer; }
details ul { display: grid; gap: 0.5em; padding: 0 0 1em; padding-inline-start: 1.1em; list-style: disc; }

@media (prefers-reduced-motion: reduce) { .spinner, .handset span { animation: none; } }
@media print {
  .lipa { --muted: #000000; --line: #000000; --ink: #000000; }
  .lipa[data-screen="paid"] { padding: 0; border: 0; background: none; font-size: 10pt; }
  .paid > :not(.slip) { display: none; }
  .slip { padding: 0; background: none; break-inside: avoid; }
}
@media print and (min-width: 120mm) { .lipa[data-screen="paid"] .slip { max-width: 110mm; margin: 15mm auto; font-size: 12pt; } }
`;

/** While the receipt is printed: the page around it is left out. Browsers without :has() print the whole page. */
const PRINT_CSS = `
@media print {
  @page { margin: 3mm; }
  body :not(lipa-pay[data-printing], lipa-pay[data-printing] *, :has(lipa-pay[data-printing])) { display: none !important; }
  html, body, :has(> lipa-pay[data-printing]), :has(lipa-pay[data-printing]) {
    display: block !important; position: static !important; width: auto !important; max-width: none !important; min-height: 0 !important;
    height: auto !important; margin: 0 !important; padding: 0 !important; border: 0 !important; background: none !important; box-shadow: none !important;
  }
}
`;

/** A style sheet made here needs no permission of a content security policy. */
function sheetOf(css) {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(css);
  return sheet;
}

function style(root) {
  try {
    root.adoptedStyleSheets = [sheetOf(STYLES)];
  } catch {
    root.append(h("style", {}, STYLES)); // Safari before 16.4
  }
}

// Values: read in every usual form, shown in one ---------------------------------------------------------------------

/**
 * "0712 345 678", "+254 (0) 712…", "00254712…", also as copied from contacts → "254712345678". Anything else → null.
 * The function reads them alike: tests/cases/phones.json.
 */
export function readPhone(text) {
  const kept = text.normalize("NFKC").replace(/[\p{Z}\p{Pd}\p{Cf}.()/·•−\t\r\n]/gu, "");
  const found = /^(?:tel:)?(?:(?:\+|00?)?2540?|0)?([71][0-9]{8})$/i.exec(kept);
  return found ? `254${found[1]}` : null;
}

/** "254712345678" → "0712 ••• 678": enough to recognise it. */
function maskPhone(msisdn) {
  return `0${msisdn.slice(3, 6)} ••• ${msisdn.slice(-3)}`;
}

/** 1500 → "KES 1,500". */
function inKes(amount) {
  return `KES ${Math.round(Number(amount)).toLocaleString("en-US")}`;
}

/** 75 → "1:15" */
function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

function timeOfDay() {
  return new Date().toLocaleTimeString("en-KE", { hour: "2-digit", minute: "2-digit", hour12: false });
}

const NAIROBI = { timeZone: "Africa/Nairobi" };

/** "2026-11-22T22:29:59Z" → "23 November 2026, 01:29 EAT". Anything else → "". */
function inNairobi(instant, lang, withTime = true) {
  const moment = new Date(instant ?? "");
  if (Number.isNaN(moment.getTime())) return "";
  const day = moment.toLocaleDateString(lang === "sw" ? "sw" : "en-GB", { ...NAIROBI, day: "numeric", month: "long", year: "numeric" });
  const minute = moment.toLocaleTimeString("en-GB", { ...NAIROBI, hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  return withTime ? `${day}, ${minute} EAT` : day;
}

/** The server's "must be a whole number" → "Must be a whole number". */
function sentence(detail) {
  return detail.charAt(0).toUpperCase() + detail.slice(1);
}

function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (blank, name) => values[name] ?? blank);
}

/** A UUID; from random bytes where the page is not served over HTTPS (a phone on the developer's own network). */
function randomKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function randomReference() {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => REFERENCE_LETTERS[byte % 32]).join("");
}

/** What a payment link's token says, for showing; the function alone decides whether it is valid. null: it says nothing. */
export function readLink(token) {
  try {
    const [payload] = token.split(".");
    const bytes = Uint8Array.from(atob(payload.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0));
    const link = JSON.parse(new TextDecoder().decode(bytes));
    return /^[\w-]+\.[\w-]+$/.test(token) && Number.isInteger(link.amount) ? link : null;
  } catch {
    return null;
  }
}

// Documents -----------------------------------------------------------------------------------------------------------

/** An element; `props` are attributes, or listeners (`onclick`). */
function h(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== undefined) made.setAttribute(name, value);
  }
  for (const child of children) made.append(...(typeof child === "string" ? unbroken(child) : [child]));
  return made;
}

/** The text, with sums, numbers and words like M-Pesa kept on one line: a phone's browser breaks lines in them. */
function unbroken(text) {
  return text.split(/\b(m-pesa|e-mail\w*|KES [\d,]+|07\d\d \d{3} \d{3})/i).map((part, place) => {
    if (place % 2 === 0) return part;
    const whole = document.createElement("span");
    whole.className = "whole";
    whole.textContent = part;
    return whole;
  });
}

function write(place, text) {
  if (place.textContent !== text) place.replaceChildren(...unbroken(text));
}

function icon(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [name, value] of [["viewBox", "0 0 24 24"], ["width", "28"], ["height", "28"]]) svg.setAttribute(name, value);
  const drawn = document.createElementNS("http://www.w3.org/2000/svg", "path");
  drawn.setAttribute("d", path);
  svg.append(drawn);
  return svg;
}

const CHECK = "M5 12.5l4.5 4.5L19 7.5";
const CROSS = "M7 7l10 10M17 7L7 17";

// What survives a reload of this tab; where the browser stores nothing, it lasts as long as the page --------------------

const inMemory = new Map();

function keep(name, value) {
  inMemory.set(name, JSON.stringify(value));
  try {
    sessionStorage.setItem(name, JSON.stringify(value));
  } catch {
    // storage is off, full or null: the copy in memory lasts as long as the page
  }
}

function kept(name) {
  let text = inMemory.get(name) ?? "null";
  try {
    text = sessionStorage.getItem(name) ?? text;
  } catch {
    // the copy in memory is all there is
  }
  return readJson(text);
}

/** The JSON object in `text`; an empty one if there is none (an HTML page, a cut answer). */
function readJson(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === "object" ? value : {};
  } catch {
    return {};
  }
}

/** Whether the customer came back to a page that was there before: by a reload, or by the browser's buttons. */
function isComingBack() {
  return ["reload", "back_forward"].includes(performance.getEntriesByType("navigation")[0]?.type);
}

// The calls to the functions ------------------------------------------------------------------------------------------

/** Server errors after which nothing was sent to the phone. Every other 5xx is no answer. */
const DEFINITE_SERVER_ERRORS = new Set(["daraja_rejected", "unavailable", "recovering", "misconfigured"]);
/** Limits of the functions. Any other 429 comes from in front of them and says nothing about this request. */
const DEFINITE_REFUSALS = new Set(["too_soon", "too_many", "too_often"]);
/** Client errors that say nothing about this request: too slow, too early, too often. */
const INDEFINITE_CLIENT_ERRORS = new Set([408, 425, 429]);

/** The functions refused: this attempt is over. `body` is an RFC 9457 problem. */
class Problem extends Error {
  constructor(status, body, retryAfterS) {
    super(body.detail || body.title || `HTTP ${status}`);
    Object.assign(this, { status, code: body.code || "", detail: body.detail || "", amount: body.amount, retryAfterS });
    this.errors = Array.isArray(body.errors) ? body.errors : [];
  }
}

/** The request may have arrived or not. Send it again with the same Idempotency-Key, never with a new one. */
class NoAnswer extends Error {
  constructor(reason, retryAfterS = null) {
    super(reason);
    this.retryAfterS = retryAfterS;
  }
}

/** The JSON object of a good answer that `isWhole`. Raises Problem or NoAnswer. */
async function call(url, timeoutMs, isWhole, options = {}) {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), timeoutMs);
  let response, body;
  try {
    const headers = { Accept: "application/json", ...options.headers };
    response = await fetch(url, { cache: "no-store", ...options, headers, signal: controller.signal });
    body = readJson(await response.text());
  } catch (error) {
    throw new NoAnswer(String(error));
  } finally {
    clearTimeout(timer);
  }
  if (response.ok && isWhole(body)) return body;
  const { status } = response;
  const retryAfterS = Number.parseInt(response.headers.get("Retry-After"), 10) || null;
  const definite =
    DEFINITE_REFUSALS.has(body.code) ||
    DEFINITE_SERVER_ERRORS.has(body.code) ||
    (status >= 400 && status < 500 && !INDEFINITE_CLIENT_ERRORS.has(status));
  throw definite ? new Problem(status, body, retryAfterS) : new NoAnswer(`HTTP ${status}`, retryAfterS);
}

function post(url, timeoutMs, isWhole, body, headers = {}) {
  const options = { method: "POST", headers: { "Content-Type": "application/json", ...headers }, body: JSON.stringify(body) };
  return call(url, timeoutMs, isWhole, options);
}

/** A wait that can be cut short: by a button, by the network coming back, by the customer returning to the page. */
class Pause {
  #end = () => {};

  /** Resolves after `seconds`, or at wake(). Infinity waits for wake() alone. */
  for(seconds) {
    this.wake();
    return new Promise((resolve) => {
      const timer = Number.isFinite(seconds) ? setTimeout(() => this.wake(), seconds * 1000) : null;
      this.#end = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  wake() {
    const end = this.#end;
    this.#end = () => {};
    end();
  }
}

// The order: what the attributes ask for, and what it costs --------------------------------------------------------------

const catalogues = new Map();

/** The shop's catalogue, asked for once a page; `fresh`: now, whatever a cache has. */
function catalogueAt(url, fresh) {
  if (fresh || !catalogues.has(url)) {
    const cache = fresh ? "reload" : "default";
    const asked = call(url, CATALOGUE_TIMEOUT_MS, (body) => Array.isArray(body.items), { cache });
    asked.catch(() => catalogues.delete(url));
    catalogues.set(url, asked);
  }
  return catalogues.get(url);
}

/** "tea:2, honey" → [{id: "tea", quantity: 2}, {id: "honey", quantity: 1}]. null where it is not written like this. */
function readItems(text) {
  const quantities = new Map();
  for (const part of text.split(",").map((each) => each.trim()).filter(Boolean)) {
    const found = /^([a-z0-9-]{1,40})(?::([1-9]\d{0,3}))?$/.exec(part);
    if (!found) return null;
    quantities.set(found[1], (quantities.get(found[1]) ?? 0) + Number(found[2] ?? 1));
  }
  return Array.from(quantities, ([id, quantity]) => ({ id, quantity }));
}

/** The lines with names and prices, their sum, and what the customer has to change. The function decides again. */
function priced(items, catalogue, words) {
  const sold = new Map(catalogue.items.map((item) => [item.id, item]));
  const nameOf = (id) => sold.get(id)?.name ?? id;
  const wrong = [];
  const lines = items.map(({ id, quantity }) => ({ quantity, name: nameOf(id), price: sold.get(id)?.price_kes ?? 0 }));
  for (const { id, quantity } of items) {
    const item = sold.get(id);
    const most = item?.max_quantity ?? MOST_OF_ONE;
    const needs = item?.requires ?? [];
    if (!item) wrong.push(fill(words.unknown_item, { text: id }));
    else if (item.available === false) wrong.push(fill(words.sold_out, { text: item.name }));
    else if (quantity > most) wrong.push(fill(words.too_many_of, { text: item.name, most }));
    else if (needs.length > 0 && !items.some((other) => needs.includes(other.id)))
      wrong.push(fill(words.needs, { text: item.name, others: needs.map(nameOf).join(", ") }));
  }
  const amount = lines.reduce((sum, { quantity, price }) => sum + quantity * price, 0);
  if (amount > LARGEST_KES) wrong.push(words.too_much);
  return { lines, amount, wrong };
}

/** A line each: names may have commas. */
function listOf(lines) {
  return lines.map(({ quantity, name }) => (quantity > 1 ? `${quantity} × ${name}` : name)).join("\n");
}

// The element ---------------------------------------------------------------------------------------------------------

class LipaPay extends HTMLElement {
  static observedAttributes = ["items", "order", "amount", "reference", "description", "api", "catalogue", "lang", "ask"];

  #root = this.attachShadow({ mode: "open" });
  #words = WORDS.en;
  #lang = "en";
  #shown = "";
  #order = null;
  #attempt = null;
  #announced = new Set();
  #pause = new Pause();
  #run = 0;
  #holdTimer = null;
  #ticking = null;
  #invoiceSending = null;
  #changing = false;

  constructor() {
    super();
    this.#root.addEventListener("input", ({ target }) => {
      this.#showFieldError(target.name, "");
      if (target.name === "phone_number") this.#release();
    });
  }

  connectedCallback() {
    window.addEventListener("online", this.#wakeUnlessTooOld);
    window.addEventListener("hashchange", this.#onHashChange);
    document.addEventListener("visibilitychange", this.#onVisible);
    this.#ticking = setInterval(() => this.#tick(), 1000);
    this.#build();
    this.#start();
  }

  disconnectedCallback() {
    window.removeEventListener("online", this.#wakeUnlessTooOld);
    window.removeEventListener("hashchange", this.#onHashChange);
    document.removeEventListener("visibilitychange", this.#onVisible);
    clearInterval(this.#ticking);
    this.#release();
    this.#begin();
  }

  /** Several attributes that change together are one new order. */
  attributeChangedCallback(name, before, now) {
    if (!this.isConnected || before === now || !this.#root.firstChild) return;
    if (name === "lang" || name === "ask") this.#build();
    if (this.#changing) return;
    this.#changing = true;
    queueMicrotask(() => {
      this.#changing = false;
      if (this.isConnected) this.#start();
    });
  }

  // Which order -------------------------------------------------------------------------------------------------------

  /** Shows the order that the attributes name, or the payment that the page's address names, from wherever it stands. */
  #start() {
    this.#begin();
    const inAddress = this.#inAddress();
    if (UUID.test(inAddress)) {
      const id = inAddress;
      const known = kept(`lipa.${id}`);
      this.#order = { isWatched: true };
      this.#take(known.id === id ? known : { id, request: {}, startedAt: Date.now(), pollAfterS: 3 });
      this.#show("checking");
      this.#follow(0);
      return;
    }
    this.#order = this.#readOrder();
    const { attempt } = kept(this.#order.name);
    const isOver = attempt?.isDone && !this.#order.isNamed && !isComingBack();
    if (!attempt || isOver) {
      this.#openForm();
      return;
    }
    this.#take(attempt);
    if (attempt.id) {
      this.#show("checking");
      this.#follow(0);
    } else {
      this.#send();
    }
  }

  /** The address's fragment, where no attribute says what is paid: a payment's id, or `order=` and a link's token. */
  #inAddress() {
    return this.#hasOrder() ? "" : location.hash.slice(1);
  }

  #hasOrder() {
    return ["items", "order", "amount"].some((name) => this.hasAttribute(name));
  }

  /**
   * `name`: under which its attempt is kept. `isNamed`: the shop gave it a number, so it is paid once. `wrong`: sentences,
   * why it cannot be paid.
   */
  #readOrder() {
    const [items, amount, reference] = ["items", "amount", "reference"].map((name) => this.getAttribute(name));
    const words = this.#words;
    const token = this.getAttribute("order") ?? /^order=(.*)$/.exec(this.#inAddress())?.[1] ?? null;
    if (token !== null) {
      const link = readLink(token);
      const wrong = link ? [] : [words.wrong_order];
      return { ...link, name: `lipa.order.${token.slice(-43)}`, token, isNamed: true, wrong };
    }
    const what = (items ?? amount ?? "").replace(/\s/g, "");
    const name = `lipa.${what}.${(reference ?? "").toLowerCase()}`;
    const order = { name, isNamed: Boolean(reference), wrong: [], isEmpty: what === "" };
    if (reference && !REFERENCE.test(reference)) order.wrong.push(fill(words.wrong_reference, { text: reference }));
    order.reference = reference || kept(name).reference || randomReference();
    if (items !== null) {
      order.items = readItems(items);
      if (!order.items) order.wrong.push(fill(words.wrong_items, { text: items }));
    } else if (!order.isEmpty) {
      order.amount = /^\d{1,7}$/.test(what) ? Number(what) : NaN;
      order.description = this.getAttribute("description");
      if (!(order.amount >= SMALLEST_KES && order.amount <= LARGEST_KES)) order.wrong.push(words.wrong_amount);
    }
    return order;
  }

  /** The form, as soon as the order has a price. No button is there before. */
  async #openForm({ fresh = false, refusal = null, amount = null, before = this.#attempt } = {}) {
    const run = this.#begin();
    const order = this.#order;
    this.#attempt = null;
    if (!order.isEmpty && order.wrong.length === 0) this.#keep();
    if (order.items?.length && order.wrong.length === 0 && (fresh || !order.lines)) await this.#price(run, fresh);
    if (run !== this.#run) return;
    if (order.isEmpty) {
      this.#show("empty");
      return;
    }
    if (order.wrong.length > 0) {
      this.#slot("reasons").replaceChildren(...order.wrong.map((text) => h("li", {}, text)));
      this.#show("unpayable");
      return;
    }
    if (amount !== null && amount !== order.amount) Object.assign(order, { amount, lines: order.lines.map((line) => ({ ...line, price: null })) });
    this.#summarise();
    this.#clearErrors();
    this.#show("form");
    if (before) this.#restore(before.request);
    if (refusal) this.#refuse(refusal);
  }

  async #price(run, fresh) {
    const order = this.#order;
    if (!this.#shown || this.#shown === "lost") this.#show("loading");
    for (let tries = 1; run === this.#run; tries += 1) {
      try {
        const catalogue = await catalogueAt(this.#address("catalogue", "/catalogue.json"), fresh);
        Object.assign(order, priced(order.items, catalogue, this.#words));
        return;
      } catch (error) {
        if (run !== this.#run) return;
        if (!(error instanceof Problem || error instanceof NoAnswer)) throw error;
        this.#show("lost");
        await this.#pause.for(Math.min(2 ** tries, 30));
      }
    }
  }

  /** An attribute counts from the page; the default from where this script is, which is the shop's own origin. */
  #address(attribute, otherwise) {
    const given = this.getAttribute(attribute);
    return given ? new URL(given, document.baseURI).href : new URL(otherwise, import.meta.url).href;
  }

  #endpoint(path) {
    return `${this.#address("api", "/api/pay").replace(/\/+$/, "")}/${path}`;
  }

  // What the customer does ------------------------------------------------------------------------------------------

  #submit(event) {
    event.preventDefault();
    if (this.#shown !== "form" || this.#slot("pay").disabled) return;
    const request = this.#read();
    const { amount, reference, lines, description } = this.#order;
    if (request) this.#pay({ request, amount, reference, what: lines ? listOf(lines) : description });
  }

  /** A new attempt: `request` is the JSON body, the rest is for showing. */
  #pay({ request, amount, reference, what }) {
    this.#clearErrors();
    this.#take({ key: randomKey(), request, amount, reference, what, startedAt: Date.now(), id: null });
    this.#keep();
    this.#send();
  }

  #checkAgain() {
    this.#show("checking");
    this.#follow(0);
  }

  /** A payment that failed can still succeed late, so it is asked about before anything new is sent. */
  async #unlessSettledSince(goOn) {
    const run = this.#begin();
    this.#show("checking");
    const { status } = await this.#ask();
    if (run !== this.#run) return;
    if (!status || status.status === "failed") goOn();
    else {
      this.#present(status);
      this.#follow(this.#attempt.pollAfterS);
    }
  }

  /** Back to the shop: to the page's folder, unless the page does something else on `lipa:closed`. */
  #leave() {
    const order = this.#order;
    const attempt = this.#attempt;
    const isOver = ["paid", "under_review", "refunded"].includes(this.#shown);
    const staysPaid = order.isWatched || (isOver && order.isNamed);
    if (attempt && !staysPaid) {
      if (isOver) order.reference = randomReference(); // the next one is another order
      this.#attempt = null;
      this.#keep();
    }
    if (this.#announce("lipa:closed", attempt ?? {})) location.assign(new URL(".", document.baseURI));
    else if (attempt && !staysPaid) this.#openForm({ before: attempt });
  }

  // What happens ----------------------------------------------------------------------------------------------------

  /** Sends the request until it has a definite answer. */
  async #send() {
    const run = this.#begin();
    const attempt = this.#attempt;
    if (this.#isOld()) await this.#holdUnreachable(Infinity);
    for (let tries = 1; run === this.#run; tries += 1) {
      if (this.#shown !== "unreachable") this.#show("sending");
      try {
        const key = { "Idempotency-Key": attempt.key };
        const answer = await post(this.#endpoint("stkpush"), PUSH_TIMEOUT_MS, (body) => UUID.test(body.transaction_id), attempt.request, key);
        if (run !== this.#run) return;
        // without Daraja's id it is not known yet whether the prompt went out
        const isUnclear = answer.checkout_request_id === null;
        Object.assign(attempt, { id: answer.transaction_id, pollAfterS: answer.poll_after_s ?? 3, isUnclear });
        this.#keep();
        this.#show("waiting");
        await this.#follow(attempt.pollAfterS);
        return;
      } catch (error) {
        if (run !== this.#run) return;
        if (error instanceof Problem) {
          this.#refused(error);
          return;
        }
        if (!(error instanceof NoAnswer)) throw error;
        await this.#holdUnreachable(this.#isOld() ? Infinity : error.retryAfterS ?? Math.min(2 ** tries, 30));
      }
    }
  }

  /** Waits on the "cannot reach" screen. An old request is sent only if the customer asks: its prompt would surprise. */
  async #holdUnreachable(seconds) {
    this.#show("unreachable");
    const again = Date.now() + seconds * 1000;
    this.#slot("leave-unreachable").hidden = Number.isFinite(seconds);
    const tell = () => {
      const time = clock(Math.max(0, Math.ceil((again - Date.now()) / 1000)));
      this.#fill({ "next-try": Number.isFinite(seconds) ? fill(this.#words.next_try, { time }) : this.#words.when_online });
    };
    tell();
    const ticking = setInterval(tell, 1000);
    await this.#pause.for(seconds);
    clearInterval(ticking);
    this.#fill({ "next-try": this.#words.trying });
  }

  /**
   * Asks for the status until it is final or another run begins. After five minutes it asks only when the customer
   * returns to the page.
   */
  async #follow(firstPauseS) {
    const run = this.#begin();
    for (let pauseS = firstPauseS; ; ) {
      if (pauseS > 0) await this.#pause.for(pauseS);
      if (run !== this.#run) return;
      const answer = await this.#ask();
      if (run !== this.#run) return;
      if (answer.missing) this.#show("missing");
      else if (answer.status) this.#present(answer.status);
      else this.#presentSilence();
      if (answer.missing || (answer.status && isLast(answer.status))) return;
      pauseS = this.#isOld() ? Infinity : this.#nextPause(answer);
    }
  }

  /** {status} as the server says, {missing: true}, or neither when there was no answer. */
  async #ask() {
    try {
      return { status: await call(this.#endpoint(`status/${this.#attempt.id}`), STATUS_TIMEOUT_MS, (body) => Boolean(body.status)) };
    } catch (error) {
      if (error instanceof Problem) return { missing: true };
      if (error instanceof NoAnswer) return { retryAfterS: error.retryAfterS };
      throw error;
    }
  }

  /** What the server asked for, but slower after a minute: it asks M-Pesa when the page asks it. */
  #nextPause({ status, retryAfterS }) {
    const age = this.#age();
    const shortest = age > 60 ? 5 : status ? 1 : 3;
    const wished = SETTLING_PAUSE_S[status?.status] ?? status?.retry_after_s ?? retryAfterS ?? this.#attempt.pollAfterS;
    return Math.min(Math.max(wished, shortest), LONGEST_PAUSE_S);
  }

  /** Tells the page. False: the page does something of its own now. */
  #announce(name, { id, reference, receipt = null }) {
    const detail = { transaction_id: id ?? null, account_reference: reference ?? null, mpesa_receipt_number: receipt };
    return this.dispatchEvent(new CustomEvent(name, { bubbles: true, composed: true, cancelable: true, detail }));
  }

  #announceOnce(name, attempt) {
    const once = `${name} ${attempt.id}`;
    if (!this.#announced.has(once)) this.#announce(name, attempt);
    this.#announced.add(once);
  }

  // What the customer sees ------------------------------------------------------------------------------------------

  #present(status) {
    const attempt = this.#attempt;
    const receipt = status.mpesa_receipt_number;
    const name = status.status === "pending" ? (this.#isOld() ? "stopped" : "waiting") : status.status;
    const { message, next } = this.#said(status);
    Object.assign(attempt, { reference: status.account_reference, amount: status.amount, receipt, isDone: ["paid", "refunded"].includes(status.status) });
    this.#keep();
    this.#fillAttempt();
    this.#fill({
      message,
      "next-action": next,
      customer: attempt.request.customer_name ?? "",
      what: attempt.what ?? `${this.#words.order} ${status.account_reference}`,
      "paid-at": inNairobi(status.updated_at, this.#lang),
      receipt: receipt ?? this.#words.to_follow,
    });
    this.#slot("receipt-row").hidden = !receipt;
    this.#show(name);
    this.#fill({
      note: {
        waiting: attempt.isUnclear ? [message, next].filter(Boolean).join(" ") : "",
        stopped: fill(this.#words.checked_at, { time: timeOfDay() }),
        paid: receipt ? "" : this.#words.receipt_follows,
        under_review: fill(this.#words.checked_at, { time: timeOfDay() }),
      }[name] ?? "",
    });
    if (status.status === "paid") this.#announceOnce("lipa:paid", attempt);
    if (status.status === "failed") this.#announceOnce("lipa:failed", attempt);
  }

  /** The server's sentences; in Swahili those of this script, because the server's are English. */
  #said({ status, message = "", next_action: next = "", result_code: code }) {
    if (this.#lang !== "sw") return { message, next };
    const { unclear, review_next, refunded_text } = this.#words;
    const [why, then] = SWAHILI_REASONS[code] ?? SW_NOT_TAKEN;
    return {
      pending: { message: unclear, next: "" },
      under_review: { message: "", next: review_next },
      refunded: { message: refunded_text, next: "" },
      failed: { message: why, next: then },
    }[status] ?? { message: "", next: "" };
  }

  #presentSilence() {
    if (this.#isOld() && ["checking", "waiting", "stopped"].includes(this.#shown)) {
      this.#show("stopped");
      this.#fill({ note: fill(this.#words.not_reached_at, { time: timeOfDay() }) });
      return;
    }
    if (this.#shown === "checking") this.#show("waiting");
    if (this.#shown === "waiting") this.#fill({ note: this.#words.silent });
  }

  #refused(problem) {
    const { code, amount } = problem;
    const isNewPrice = code === "price_changed" && Number.isInteger(amount);
    const refusal = this.#wordsFor(problem);
    this.#openForm({ fresh: isNewPrice, refusal, amount: isNewPrice ? amount : null });
    const waitS = problem.retryAfterS ?? 30;
    if (["too_soon", "too_many"].includes(code) && waitS <= HOLDS_AT_MOST_S) this.#hold(waitS);
  }

  /** Errors of the server name its settings, so customers do not see them. */
  #wordsFor({ status, code, detail, errors, amount }) {
    const named = status < 500 && code !== "price_changed" && code !== "order_invalid" ? errors : [];
    const word = this.#words[named.length > 0 ? "refused_invalid" : `refused_${code}`] ?? this.#words.refused_other;
    const [title, text = ""] = [word].flat();
    // these two say which limit it is and what to do
    const more = this.#lang === "en" && ["too_many", "above_limit"].includes(code) && detail ? `${detail} ` : "";
    const inOurWords = { phone_number: this.#words.enter_phone, customer_email: this.#words.enter_email };
    return {
      title,
      text: more + fill(text, { amount: inKes(amount ?? 0) }),
      errors: named.map(({ field, detail: said }) => ({ field, detail: (this.#lang !== "en" && inOurWords[field]) || sentence(said) })),
    };
  }

  #tick() {
    if (this.#shown !== "waiting" || !this.#attempt) return;
    this.#fill({ elapsed: clock(Math.floor(this.#age())) });
    const help = this.#slot("help");
    if (this.#age() > OFFER_HELP_AFTER_S && !this.#attempt.helpWasOffered) {
      this.#attempt.helpWasOffered = true;
      help.open = true;
    }
  }

  #print() {
    try {
      this.#leaveOutThePage(sheetOf(PRINT_CSS));
    } catch {
      // Safari before 16.4 prints the page as it is
    }
    window.print();
  }

  #leaveOutThePage(sheet) {
    const restore = () => {
      document.adoptedStyleSheets = document.adoptedStyleSheets.filter((each) => each !== sheet);
      this.removeAttribute("data-printing");
    };
    this.setAttribute("data-printing", "");
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
    window.addEventListener("afterprint", restore, { once: true });
  }

  // The form --------------------------------------------------------------------------------------------------------

  #summarise() {
    const { lines, amount, shop, description, reference, isNamed, valid_until: until } = this.#order;
    const rows = lines
      ? lines.map(({ quantity, name, price }) => h("li", {}, h("span", {}, `${quantity} × ${name}`), h("span", {}, price === null ? "" : inKes(quantity * price))))
      : [shop, description, isNamed && `${this.#words.order} ${reference}`].filter(Boolean).map((text) => h("li", {}, h("span", {}, text)));
    this.#slot("lines").replaceChildren(...rows);
    this.#slot("lines").hidden = rows.length === 0;
    const date = inNairobi(until, this.#lang, false);
    this.#fill({ total: inKes(amount), until: date ? fill(this.#words.valid_until, { date }) : "" });
    if (!this.#holdTimer) this.#release();
  }

  /** The request's JSON body; null after showing what is missing. */
  #read() {
    const order = this.#order;
    const phone = readPhone(this.#field("phone_number").value);
    const request = { phone_number: phone, lang: this.#lang };
    if (order.token) request.order = order.token;
    else Object.assign(request, { amount: order.amount, account_reference: order.reference });
    if (order.items) request.items = order.items;
    else if (order.description && !order.token) request.transaction_desc = order.description;
    const errors = phone ? [] : [{ field: "phone_number", detail: this.#words.enter_phone }];
    for (const [label, isRequired] of this.#asks()) {
      const { name } = FIELDS[label];
      const value = this.#field(name).value.trim();
      if (value) request[name] = value;
      if (label === "email" && value && !EMAIL.test(value)) errors.push({ field: name, detail: this.#words.enter_email });
      if (isRequired && !value) errors.push({ field: name, detail: fill(this.#words.enter, { label: this.#words[label] }) });
    }
    if (errors.length === 0) return request;
    this.#refuse({ title: [this.#words.refused_invalid].flat()[0], text: "", errors });
    return null;
  }

  /** What the attribute `ask` says: [["name", false], ["email", true]] for "name email*". */
  #asks() {
    const asked = (this.getAttribute("ask") ?? "name email").split(/[\s,]+/).filter(Boolean);
    return asked.map((each) => [each.replace("*", ""), each.endsWith("*")]).filter(([label]) => label in FIELDS);
  }

  /** An earlier attempt's details in the fields that are empty. */
  #restore(request) {
    for (const field of this.#root.querySelectorAll("[name]")) {
      if (!field.value && request[field.name]) field.value = request[field.name].replace(/^254(?=\d{9}$)/, "0");
    }
  }

  /** Shows a problem above the form and at its fields, and moves the focus there. */
  #refuse({ title, text, errors }) {
    this.#clearErrors();
    const alert = this.#slot("alert");
    alert.append(h("strong", {}, title));
    if (text) alert.append(h("p", {}, text));
    if (errors.length > 0) alert.append(h("ul", {}, ...errors.map((error) => this.#errorLine(error))));
    alert.hidden = false;
    alert.focus();
    alert.scrollIntoView({ block: "nearest" });
  }

  #errorLine({ field: name, detail }) {
    const field = this.#field(name);
    if (!field) return h("li", {}, detail);
    this.#showFieldError(name, detail);
    const go = (event) => {
      event.preventDefault();
      field.focus();
    };
    return h("li", {}, h("a", { href: `#${field.id}`, onclick: go }, detail));
  }

  #clearErrors() {
    this.#slot("alert").replaceChildren();
    this.#slot("alert").hidden = true;
    for (const { name } of this.#root.querySelectorAll("[name]")) this.#showFieldError(name, "");
  }

  #showFieldError(name, detail) {
    const place = this.#root.getElementById(`${name}-error`);
    if (!place) return;
    write(place, detail);
    place.hidden = !detail;
    if (detail) this.#field(name).setAttribute("aria-invalid", "true");
    else this.#field(name).removeAttribute("aria-invalid");
  }

  /** Disables the button for `seconds` and counts them down on it. Another phone number need not wait. */
  #hold(seconds) {
    this.#release();
    const until = Date.now() + seconds * 1000;
    const tick = () => {
      const left = Math.ceil((until - Date.now()) / 1000);
      if (left <= 0) this.#release();
      else write(this.#slot("pay"), fill(this.#words.pay_again_in, { time: clock(left) }));
    };
    this.#slot("pay").disabled = true;
    this.#holdTimer = setInterval(tick, 1000);
    tick();
  }

  #release() {
    clearInterval(this.#holdTimer);
    this.#holdTimer = null;
    const button = this.#slot("pay");
    button.disabled = false;
    write(button, fill(this.#words.pay, { amount: this.#order?.amount ? inKes(this.#order.amount) : "" }).trim());
  }

  // The invoice by e-mail -------------------------------------------------------------------------------------------

  // The shop stores one address for a payment. The element asks until the shop has accepted one, and remembers that
  // across a reload: `attempt.invoice` is "asked" afterwards, and "unclear" while a request has no answer. The address
  // itself is neither kept here nor shown again.

  async #askForInvoice(event) {
    event.preventDefault();
    const attempt = this.#attempt;
    if (this.#invoiceSending === attempt || hasInvoice(attempt)) return;
    const email = this.#field("invoice_email").value.trim();
    if (!EMAIL.test(email)) {
      this.#complain(this.#words.enter_email);
      return;
    }
    const before = attempt.invoice;
    this.#invoiceSending = attempt;
    this.#markInvoice("unclear");
    this.#showInvoice(this.#words.invoice_sending);
    let said;
    try {
      const body = { transaction_id: attempt.id, customer_email: email };
      await post(this.#endpoint("invoice"), INVOICE_TIMEOUT_MS, (answer) => Boolean(answer.transaction_id), body);
    } catch (error) {
      if (!(error instanceof Problem || error instanceof NoAnswer)) throw error;
      said = error;
    }
    if (this.#invoiceSending === attempt) this.#invoiceSending = null;
    if (attempt === this.#attempt) this.#tellInvoice(said, before);
  }

  /** `said`: nothing if the shop accepted; else the refusal, or that there was no answer. */
  #tellInvoice(said, before) {
    if (!said) {
      this.#markInvoice("asked");
      this.#showInvoice();
      this.#slot("invoice-note").focus({ preventScroll: true });
    } else if (said instanceof NoAnswer) {
      this.#showInvoice();
    } else {
      if (said.status < 500) this.#markInvoice(before);
      this.#refusedInvoice(said);
    }
  }

  #refusedInvoice({ status, code, errors, retryAfterS }) {
    const words = this.#words;
    const detail = errors.find(({ field }) => field === "customer_email")?.detail;
    if (status === 422 && detail) {
      this.#showInvoice("");
      this.#complain(this.#lang === "en" ? sentence(detail) : words.enter_email);
      return;
    }
    const refusals = {
      not_paid: words.invoice_not_paid,
      too_often: retryAfterS ? words.invoice_too_often : words.invoice_no_more,
      too_many: words.invoice_too_many,
    };
    this.#showInvoice(status >= 500 ? words.invoice_unavailable : refusals[code] ?? words.invoice_other);
    if (code === "not_paid") this.#follow(0);
  }

  #markInvoice(invoice) {
    this.#attempt.invoice = invoice;
    this.#keep();
  }

  #showInvoice(note = hasInvoice(this.#attempt) ? this.#words.invoice_sent : this.#attempt.invoice === "unclear" ? this.#words.invoice_unclear : "") {
    this.#slot("invoice-form").hidden = hasInvoice(this.#attempt);
    write(this.#slot("invoice-note"), note);
  }

  #complain(detail) {
    this.#showFieldError("invoice_email", detail);
    if (detail) this.#field("invoice_email").focus();
  }

  // Helpers ---------------------------------------------------------------------------------------------------------

  #take(attempt) {
    this.#attempt = attempt;
    this.#fillAttempt();
    this.#fill({ elapsed: clock(Math.floor(this.#age())) });
    this.#slot("help").open = false;
    for (const button of this.#root.querySelectorAll(".again")) button.hidden = Boolean(this.#order.isWatched);
    this.#field("invoice_email").value = "";
    this.#complain("");
    this.#showInvoice();
  }

  #fillAttempt() {
    const { amount, reference, request } = this.#attempt;
    const phone = request.phone_number ? maskPhone(request.phone_number) : "";
    this.#fill({
      amount: amount ? inKes(amount) : "",
      reference: reference ?? "",
      phone: phone || this.#words.your_phone,
      "paid-from": phone && `M-Pesa ${phone}`,
    });
  }

  /** Keeps the attempt for a reload of this tab, under its order's name, and under its own id for the order's page. */
  #keep(attempt = this.#attempt) {
    if (attempt?.id) keep(`lipa.${attempt.id}`, attempt);
    if (this.#order.name) keep(this.#order.name, { reference: attempt?.isDone && !this.#order.isNamed ? null : this.#order.reference, attempt });
  }

  /** Ends the run before this one: it finds another number. */
  #begin() {
    this.#run += 1;
    this.#pause.wake();
    return this.#run;
  }

  #age() {
    return Math.max(0, (Date.now() - this.#attempt.startedAt) / 1000);
  }

  #isOld() {
    return this.#age() * 1000 > PATIENCE_MS;
  }

  #wakeUnlessTooOld = () => {
    if (!this.#attempt || this.#attempt.id || !this.#isOld()) this.#pause.wake();
  };

  #onVisible = () => {
    if (!document.hidden) this.#wakeUnlessTooOld();
  };

  #onHashChange = () => {
    if (!this.#hasOrder()) this.#start();
  };

  #slot(name) {
    return this.#root.querySelector(`[data-slot="${name}"]`);
  }

  #field(name) {
    return this.#root.querySelector(`[name="${CSS.escape(name)}"]`);
  }

  /** Writes texts into the blanks. Empty ones are hidden with their row, except live regions. */
  #fill(texts) {
    for (const [name, text] of Object.entries(texts)) {
      for (const blank of this.#root.querySelectorAll(`[data-slot="${name}"]`)) {
        write(blank, text);
        (blank.closest("[data-row]") ?? blank).hidden = text === "" && !blank.hasAttribute("role");
      }
    }
  }

  /** A new screen gets the focus at its title, which is how a screen reader announces it; not the page's first one. */
  #show(name) {
    if (name === this.#shown) return;
    const isFirst = ["", "loading", "checking"].includes(this.#shown) && !this.#root.activeElement;
    this.#shown = name;
    for (const screen of this.#root.querySelectorAll("[data-screen-name]")) screen.hidden = screen.dataset.screenName !== name;
    this.#root.querySelector(".lipa").dataset.screen = name;
    this.setAttribute("state", name);
    this.#fill({ note: "" });
    if (isFirst) return;
    const title = this.#root.querySelector(`[data-screen-name="${name}"] .title`);
    title.focus({ preventScroll: true });
    title.scrollIntoView({ block: "nearest" });
  }

  #build() {
    this.#lang = this.closest("[lang]")?.lang.toLowerCase().startsWith("sw") ? "sw" : "en";
    const own = Array.from(this.querySelectorAll("[data-label]"), (label) => [label.dataset.label, label.textContent.trim()]);
    this.#words = { ...WORDS.en, ...WORDS[this.#lang], ...Object.fromEntries(own) };
    const typed = Object.fromEntries(Array.from(this.#root.querySelectorAll("[name]"), ({ name, value }) => [name, value]));
    const dir = this.getAttribute("dir") ?? "ltr"; // English and Swahili, whatever the page is
    this.#shown = "";
    this.#root.replaceChildren();
    style(this.#root);
    this.#root.append(h("div", { class: "lipa", part: "box", lang: this.#lang, dir }, ...this.#screens()));
    this.#restore(typed);
  }

  #screens() {
    const words = this.#words;
    const blank = (slot, props = {}) => h("span", { "data-slot": slot, ...props });
    const strong = (slot) => h("strong", { "data-slot": slot, class: "keep" });
    const title = (text) => h("h2", { class: "title", tabindex: "-1" }, text);
    const lead = (text) => h("p", { class: "lead" }, text);
    const note = () => h("p", { class: "note", role: "status", "data-slot": "note" });
    const button = (text, kind, onclick, props = {}) => h("button", { class: kind, type: "button", onclick, ...props }, text);
    const back = (kind = "quiet", props = {}) => button(words.back, kind, () => this.#leave(), props);
    const badge = (colour, sign) => h("div", { class: `badge ${colour}`, "aria-hidden": "true" }, sign);
    const row = (label, slot, props = {}, rowProps = {}) => h("div", rowProps, h("dt", {}, label), h("dd", { "data-slot": slot, ...props }));
    const orderLine = () =>
      h("p", { class: "small", "data-row": true }, `${words.order} `, blank("reference"), " · ", blank("amount", { class: "keep" }));
    const screen = (name, ...parts) => h("div", { class: `screen ${name}`, "data-screen-name": name, hidden: true }, ...parts);
    const spinning = (name, heading, text) =>
      screen(name, h("div", { class: "spinner", "aria-hidden": "true" }), title(heading), h("p", {}, text));

    return [
      h("div", { "data-screen-name": "form", hidden: true }, ...this.#formParts(title)),
      spinning("loading", words.loading_title, words.moment),
      spinning("sending", words.sending_title, words.sending_text),
      spinning("checking", words.checking_title, words.moment),
      screen("empty", title(words.title), h("p", {}, words.nothing), back()),
      screen("unpayable", badge("amber", "!"), title(words.unpayable_title), h("ul", { class: "reasons", "data-slot": "reasons" }), h("p", {}, words.unpayable_text), back()),
      screen("lost", badge("amber", "!"), title(words.lost_title), lead(words.lost_text), button(words.try_now, "primary", () => this.#pause.wake())),
      screen(
        "waiting",
        h("div", { class: "handset", "aria-hidden": "true" }, h("span")),
        title(words.waiting_title),
        h("p", { class: "lead" }, ...mixed(words.waiting_text, { phone: strong("phone"), amount: strong("amount") })),
        h("p", { class: "small" }, h("span", { role: "timer" }, `${words.waiting_for} `, blank("elapsed")), " · ", `${words.order} `, blank("reference")),
        note(),
        h(
          "details",
          { "data-slot": "help" },
          h("summary", {}, words.help_title),
          h(
            "ul",
            {},
            h("li", {}, words.help_1),
            h("li", {}, ...mixed(words.help_2, { phone: blank("phone", { class: "keep" }) })),
            h("li", {}, words.help_3),
            h("li", {}, words.help_4),
          ),
        ),
      ),
      screen(
        "unreachable",
        badge("amber", "!"),
        title(words.unreachable_title),
        lead(words.unreachable_text),
        h("p", {}, ...mixed(words.unreachable_pin, { amount: strong("amount") })),
        h("p", { class: "note", "data-slot": "next-try" }),
        button(words.try_now, "primary", () => this.#pause.wake()),
        back("quiet", { "data-slot": "leave-unreachable", hidden: true }),
        orderLine(),
      ),
      screen(
        "stopped",
        badge("amber", "…"),
        title(words.stopped_title),
        lead(words.stopped_text),
        h("p", {}, words.look_first),
        note(),
        button(words.check_again, "primary", () => this.#checkAgain()),
        back(),
        orderLine(),
      ),
      screen(
        "paid",
        badge("green", icon(CHECK)),
        title(words.paid_title),
        h(
          "section",
          { class: "slip", "aria-labelledby": "slip-title" },
          h("slot", { name: "shop", class: "letterhead" }),
          h("h3", { id: "slip-title" }, words.receipt_title),
          h(
            "dl",
            {},
            row(words.customer, "customer", {}, { "data-row": true }),
            row(words.for, "what"),
            row(words.order, "reference"),
            row(words.paid, "paid-at", {}, { "data-row": true }),
            row(words.paid_from, "paid-from", {}, { "data-row": true }),
            row(words.receipt, "receipt", { "aria-live": "polite" }),
            row(words.total_paid, "amount", { class: "keep" }, { class: "sum" }),
          ),
          h("p", { class: "small" }, words.no_tax_invoice),
        ),
        note(),
        h(
          "form",
          { class: "ask", novalidate: true, "data-slot": "invoice-form", "aria-labelledby": "invoice-title", hidden: true, onsubmit: (event) => this.#askForInvoice(event) },
          h("h3", { id: "invoice-title" }, words.invoice_title),
          this.#fieldPart({ ...FIELDS.email, name: "invoice_email" }, words.invoice_email, true),
          h("button", { class: "quiet", type: "submit" }, words.invoice_send),
        ),
        h("p", { class: "note", "aria-live": "polite", tabindex: "-1", "data-slot": "invoice-note" }),
        back("primary"),
        button(words.print, "quiet", () => this.#print()),
      ),
      screen(
        "failed",
        badge("red", icon(CROSS)),
        title(words.failed_title),
        h("p", { class: "lead", "data-slot": "message" }),
        h("p", { "data-slot": "next-action" }),
        button(words.try_again, "primary again", () => this.#unlessSettledSince(() => this.#pay(this.#attempt))),
        button(words.edit, "quiet again", () => this.#unlessSettledSince(() => this.#openForm())),
        back(),
        orderLine(),
      ),
      screen(
        "under_review",
        badge("amber", "!"),
        title(words.review_title),
        h("p", { class: "lead" }, `${words.review_text} `, h("strong", {}, words.not_again)),
        h("p", { "data-slot": "message" }),
        h("p", { "data-slot": "next-action" }),
        h(
          "dl",
          {},
          row(words.amount, "amount", { class: "keep" }),
          row(words.receipt, "receipt", {}, { "data-slot": "receipt-row" }),
          row(words.order, "reference"),
        ),
        note(),
        button(words.check_again, "primary", () => this.#checkAgain()),
        back(),
      ),
      screen("refunded", badge("green", "↩"), title(words.refunded_title), h("p", { class: "lead", "data-slot": "message" }), back("primary"), orderLine()),
      screen(
        "missing",
        badge("amber", "?"),
        title(words.missing_title),
        lead(words.missing_text),
        button(words.look_again, "primary", () => this.#checkAgain()),
        back(),
        orderLine(),
      ),
    ];
  }

  #formParts(title) {
    const words = this.#words;
    const asks = this.#asks();
    const parts = new Map(asks.map(([label, isRequired]) => [label, this.#fieldPart(FIELDS[label], words[label], isRequired)]));
    const isForInvoice = ["name", "email"].every((label) => asks.some(([each, isRequired]) => each === label && !isRequired));
    const own = asks.map(([label]) => label).filter((label) => !isForInvoice || label === "note");
    if (isForInvoice) for (const label of ["name", "email"]) parts.get(label).querySelector(".optional")?.remove();
    const contact = isForInvoice
      ? [h("fieldset", {}, h("legend", {}, `${words.contact} `, h("span", { class: "optional" }, words.optional)), parts.get("name"), parts.get("email"))]
      : [];
    return [
      title(words.title),
      h("div", { class: "alert", role: "alert", tabindex: "-1", "data-slot": "alert", hidden: true }),
      h(
        "div",
        { class: "summary" },
        h("ul", { "data-slot": "lines" }),
        h("p", { class: "total" }, h("span", {}, words.total), h("output", { "data-slot": "total" })),
        h("p", { class: "small", "data-slot": "until", hidden: true }),
      ),
      h(
        "form",
        { novalidate: true, onsubmit: (event) => this.#submit(event) },
        this.#fieldPart({ name: "phone_number", type: "tel", inputmode: "tel", autocomplete: "tel", maxlength: 60, class: "phone" }, words.phone, true, words.phone_hint),
        ...own.map((label) => parts.get(label)),
        ...contact,
        h("button", { class: "primary", type: "submit", "data-slot": "pay" }, words.pay),
        h("p", { class: "small" }, words.pin),
      ),
    ];
  }

  /** A labelled field with the place of its error. What is not required says so. */
  #fieldPart(props, label, isRequired, hint = "") {
    const { name } = props;
    const optional = isRequired ? [] : [" ", h("span", { class: "optional" }, this.#words.optional)];
    const described = `${hint ? `${name}-hint ` : ""}${name}-error`;
    return h(
      "div",
      {},
      h("label", { for: name }, label, ...optional),
      ...(hint ? [h("p", { class: "hint", id: `${name}-hint` }, hint)] : []),
      h(name === "note" ? "textarea" : "input", { id: name, ...props, "aria-required": isRequired && "true", "aria-describedby": described }),
      h("p", { class: "error", id: `${name}-error`, hidden: true }),
    );
  }
}

/** "to {phone}." with a node for each blank. */
function mixed(text, nodes) {
  return text.split(/\{(\w+)\}/).map((part, place) => (place % 2 ? nodes[part] : part));
}

function isLast(status) {
  return status.status === "refunded" || (status.status === "paid" && Boolean(status.mpesa_receipt_number));
}

/** The shop has an address for this payment. */
function hasInvoice({ request, invoice }) {
  return Boolean(request.customer_email) || invoice === "asked";
}

if (!customElements.get("lipa-pay")) customElements.define("lipa-pay", LipaPay);
