"""The cases that do not run, each with its reason: a convention that is not ours, or a thing not offered yet."""

from collections.abc import Mapping, Sequence

AREAS: Mapping[str, str] = {
    "aggregation": "quantities are made by metering; its cases are not run yet",
    "lifecycle": "stories over all services; they are not run yet",
}

KINDS: Mapping[tuple[str, str], str] = {
    ("pricing", "rate_events"): "prices in percent are not offered yet",
    ("pricing", "rate_events_prorated"): "usage is not prorated event by event",
    ("pricing", "rate_buckets"): "usage of a period is rated as a whole, not window by window",
    ("pricing", "usage_discount"): "a period is rated once, when it is over, not in slices as usage comes",
    ("pricing", "round_quantity"): "quantities are rated as they were measured, without rounding",
    ("pricing", "minimum_true_up"): "a minimum spend is not offered yet",
    ("proration", "termination_fee"): "the day of the end is no longer in use; the cases count it as used",
    ("proration", "item_change"): "the source leaves the last second of a period out",
    ("proration", "credit_cap"): "credit notes are not offered yet",
    ("invoices", "discount_amount"): "coupons are not offered yet",
    ("invoices", "credit_note"): "credit notes are not offered yet",
    ("invoices", "termination_credit"): "credit notes are not offered yet",
    ("invoices", "tax_mode"): "prices that include tax are not offered yet, nor taxes given as an amount",
    ("invoices", "balance_application"): "customer balances are not offered yet",
    ("invoices", "wallet"): "wallets are not offered yet",
    ("invoices", "wallet_cap"): "wallets are not offered yet",
}

IDS_BY_REASON: Mapping[str, Sequence[str]] = {
    "the model is not offered yet: it takes a percentage, or multiplies, what is used": (
        "pricing-lago-5bb8f270",
        "pricing-lago-f87bb374",
        "pricing-lago-aa108195",
        "pricing-lago-6607f97c",
        "pricing-lago-ca13aad5",
        "pricing-lago-docs-8dc17f12",
        "pricing-lago-docs-39968641",
        "pricing-openmeter-54d44946",
    ),
    "a period is rated once, when it is over, not in slices as usage comes": (
        "pricing-openmeter-1fd69495",
        "pricing-openmeter-1b0eda34",
        "pricing-openmeter-4cd6215b",
    ),
    "a minimum or maximum spend is not offered yet": (
        "pricing-openmeter-87c67b4f",
        "pricing-openmeter-536f92db",
        "pricing-openmeter-fb557100",
        "pricing-openmeter-123a10ea",
        "pricing-openmeter-d36f9724",
        "pricing-openmeter-1e9e4c9d",
        "pricing-openmeter-6d44a166",
        "pricing-openmeter-46cc9827",
        "pricing-openmeter-8147726b",
        "pricing-openmeter-68682deb",
        "pricing-openmeter-99239c3c",
        "pricing-openmeter-ff149cc6",
    ),
    "quantities are not converted before they are rated in tiers": ("pricing-openmeter-3f76f72b",),
    "the last tier of a price has no end: what lies beyond it would have no price": (
        "pricing-polar-7aaff970",
    ),
    "a package that is begun is paid: packages are never rounded down": (
        "pricing-flexprice-67a4a6f3",
        "pricing-flexprice-dcfcb737",
    ),
    "a tier has no cap of its own": ("pricing-meteroid-5a1fd006",),
    "no period before the run was in use, so that none is billed; the case names the one under way": (
        "periods-lago-14910aeb",
        "periods-lago-6e0646b8",
    ),
    "the case takes an end on a boundary to lie in the period before it; here it begins the next": (
        "periods-lago-05b529c2",
    ),
    "the case names the period after the end, in which the run lies; here it is the one the end lies in": (
        "periods-lago-3d999112",
    ),
    "usage and fees of one plan are billed by one interval": (
        "periods-lago-37c7ff5a",
        "periods-lago-4b29139f",
        "periods-lago-7c948870",
        "periods-lago-5d208f3f",
        "periods-lago-e0d5f75f",
        "periods-lago-96dd9e90",
        "periods-lago-dad268d7",
        "periods-lago-1c77b319",
        "periods-lago-7d242183",
        "periods-lago-e0686d60",
        "periods-lago-c4549ed1",
        "periods-lago-41a64b69",
    ),
    "periods begin where a local date begins, never at a time of day": (
        "periods-flexprice-7b8197df",
        "periods-flexprice-788f63fb",
        "periods-flexprice-4307a0ab",
        "periods-flexprice-a5612481",
        "periods-flexprice-e82393d1",
        "periods-flexprice-076a22ee",
        "periods-flexprice-ace86041",
        "periods-flexprice-a06afa00",
        "periods-flexprice-c7181b1f",
        "periods-flexprice-df8ecfaf",
        "periods-flexprice-2beaaa8f",
        "periods-flexprice-c95bc4c6",
        "periods-flexprice-b9ff31da",
        "periods-flexprice-c1712e64",
        "periods-flexprice-5208f38b",
        "periods-flexprice-b11463a9",
        "periods-flexprice-f515aa04",
        "periods-flexprice-7981ec7e",
        "periods-flexprice-a053dc16",
        "periods-flexprice-0ecc391e",
        "periods-flexprice-161c5502",
        "periods-flexprice-435d70e4",
        "periods-openmeter-ca5c801e",
        "periods-openmeter-28cecd66",
    ),
    "months are counted from the anchor; the case keeps only its day, and counts from the period under way": (
        "periods-flexprice-d8fb0aea",
        "periods-flexprice-d7c5445b",
        "periods-flexprice-6498035d",
        "periods-flexprice-96fe1413",
        "periods-flexprice-6fb95344",
        "periods-flexprice-fef472d4",
    ),
    "an end is a boundary, at which the last part is billed, not the next run after it": (
        "periods-killbill-aae9fe8e",
        "periods-killbill-e934bd18",
        "periods-killbill-144883da",
    ),
    "usage of a period is billed when the period is over, not as soon as it is under way": (
        "periods-killbill-11005fa4",
        "periods-killbill-5019359d",
        "periods-killbill-e1908f5f",
    ),
    "a first part is a part of the full period from the anchor; the case steps back from a clamped date": (
        "proration-killbill-7d7e3640",
        "proration-killbill-1228b7fa",
    ),
    "days are those of the calendar, never of months of fixed length": (
        "proration-killbill-e8d33d75",
        "proration-killbill-48151033",
        "proration-killbill-9db21c47",
        "proration-killbill-549d6f7f",
        "proration-killbill-f83898c0",
        "proration-killbill-d69c5504",
        "proration-killbill-a2c48f2b",
        "proration-killbill-39bfdd9d",
        "proration-killbill-66c17409",
        "proration-killbill-f535e8ba",
        "proration-killbill-fe589e69",
        "proration-killbill-e56f1d6b",
        "proration-killbill-1cc3b977",
    ),
    "the rest of the old is always given back, and a change of plan moves no anchor": (
        "proration-polar-99ac4d13",
    ),
    "discounts on a price are not offered yet": (
        "proration-polar-92c22c69",
        "proration-polar-261979e5",
        "proration-polar-e1741fad",
    ),
    "money left over is given back as money, not as days of the new plan": (
        "proration-samsung-iap-docs-e06b665e",
    ),
    "all prices of a plan have the plan's interval": ("proration-meteroid-51899ff7",),
    "trials are not offered yet": (
        "proration-lago-d6c0ff30",
        "proration-lago-c6856732",
        "proration-lago-1690e04c",
        "proration-lago-a8fc035f",
        "proration-lago-fb88bc55",
    ),
    "a part without length costs nothing; the case bills it in full": ("proration-openmeter-86e910de",),
    "a line has one rate of tax, and an invoice one fixed discount": (
        "invoices-lago-60771eb4",
        "invoices-lago-3afdaef4",
        "invoices-lago-ddd059b6",
    ),
    "a discount beyond the lines is refused, not cut": (
        "invoices-meteroid-57099927",
        "invoices-polar-8e949b63",
    ),
    "a customer's exemption from tax is not offered yet": ("invoices-meteroid-b9a60537",),
    "discounts in percent are not offered yet": (
        "invoices-meteroid-04a4432d",
        "invoices-polar-002cf7fb",
        "invoices-polar-c571bc18",
        "invoices-polar-f9283c1e",
    ),
    "discounts for some kinds of lines only are not offered yet": (
        "invoices-polar-17acc481",
        "invoices-polar-556dc1d5",
    ),
    "an amount finer than its currency becomes money by rounding; the case refuses to split it": (
        "invoices-openmeter-c9e79da1",
    ),
    "a part may weigh nothing, and then gets nothing; the case refuses it": ("invoices-openmeter-9b312880",),
}

NOT_OFFERED: Mapping[str, str] = {
    case_id: reason for reason, case_ids in IDS_BY_REASON.items() for case_id in case_ids
}
