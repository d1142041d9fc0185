"""Every route of the four services, as the tests that try every route see it; and what its parameters name.

A parameter or a field that is not named here fails the tests: a new one must be tried, not skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from libs.common.access.scopes import OPERATE
from libs.common.runtime import Service
from libs.common.web.calls import Authorised
from libs.common.web.gate import GUARDED
from libs.common.web.openapi import route_accesses
from tests.journeys.security.story import Story

# What a path parameter names: the prefix of its ids, or what else it is.
TENANT, MESSAGE, REPLAY, NUMBER = "tenant", "message", "replay", "number"
ACCOUNT, LISTING, WORDS = "account", "listing", "words"  # of these names, all tenants have the same
PATH_KINDS: Mapping[str, str] = {
    "product_id": "prd",
    "plan_id": "pln",
    "overlay_id": "ovl",
    "number": NUMBER,
    "feature_id": "ftr",
    "coupon_id": "cpn",
    "redemption_id": "rdm",
    "customer_id": "cus",
    "subscription_id": "sub",
    "binding_id": "bnd",
    "quote_id": "etq",
    "receipt_id": "rcp",
    "test_clock_id": "clk",
    "clock_id": "clk",
    "move_id": "mov",
    "change_id": "sch",
    "plan_move_id": "plm",
    "meter_id": "mtr",
    "reading_id": "rdg",
    "exception_id": "rex",
    "window_id": "uwin",
    "alert_id": "ualt",
    "reject_id": "urej",
    "seller_id": "sel",
    "payment_method_id": "pm",
    "customer_balance_id": "bal",
    "invoice_id": "inv",
    "line_id": "lin",
    "manual_line_id": "mln",
    "billing_run_id": "run",
    "credit_note_id": "crn",
    "refund_id": "rfd",
    "dispute_id": "dsp",
    "payment_id": "pmt",
    "deposit_id": "dep",
    "allocation_id": "pal",
    "statement_id": "bst",
    "entry_id": "bse",
    "wallet_id": "wal",
    "grant_id": "grt",
    "tenant_id": TENANT,
    "message_id": MESSAGE,
    "replay_id": REPLAY,
    "account": ACCOUNT,
    "listing": LISTING,
    "mail_id": "mail",
    "kind": WORDS,
    "locale": WORDS,
}

# Whoever asks there proves who he is by a signature, and has no token: gateways do.
SIGNED = "/v1/gateway-events/"

# Whoever asks for what is named there has one of his own.
OF_EVERYBODY = (("account",), ("kind", "locale"))

# Query parameters that name a tenant's thing, by the prefix of its ids or by a name that the tenant chose.
QUERY_KINDS: Mapping[str, str] = {
    "customer_id": "cus",
    "subscription_id": "sub",
    "item_id": "si",
    "asset_id": "asset",
    "price_id": "prc",
    "feature": "feature",
    "invoice_id": "inv",
    "credit_note_id": "crn",
    "payment_id": "pmt",
    "deposit_id": "dep",
    "bank_statement_id": "bst",
    "code": "code",
    "plan": "plan",
    "plan_id": "pln",
    "meter": "meter",
    "subject": "subject",
    "device": "device",
    "source": "source",
    "id": "event",
    "event_id": "event",
    "type": "event_type",
    "event_type": "event_type",
    "external_id": "external_id",
    "number": "invoice_number",
    "batch_id": "batch",
    "coupon_id": "cpn",
    "gtin": "gtin",
    "email": "email",
    "name_prefix": "name_prefix",
    "seller_id": "sel",
    "parent_id": "cus",
    "test_clock_id": "clk",
}
QUERY_SENT_TOGETHER: Mapping[str, tuple[str, ...]] = {"id": ("source",)}
# A question about usage says of which meter, and whose; without its time, it is about this month.
QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "/v1/usage": ("meter", "subject"),
    "/v1/usage/events": ("meter", "subject"),
}
QUESTION_TIME = {"from": "2024-01-01T00:00:00Z"}
# What must be said, and names nothing.
PLAIN_NEEDED: Mapping[str, str] = {"bucket": "0"}
# Not all of their kind have something there: these are asked for as the story did, query and all.
PROOF = "/v1/usage-windows/{window_id}/inclusion-proofs"
AS_TOLD = frozenset((PROOF, "/v1/invoices/{invoice_id}/manual-lines", "/v1/invoices/{invoice_id}/dunning"))
# Of a draft, its owner is told that it is not issued yet.
OF_ISSUED = frozenset(
    (
        "/v1/invoices/{invoice_id}/revenue-schedule",
        "/v1/invoices/{invoice_id}/verification",
        "/v1/invoices/{invoice_id}/proof",
        "/v1/invoices/{invoice_id}/pdf",
        "/v1/invoices/{invoice_id}/e-invoice",
        "/v1/invoices/{invoice_id}/e-invoice-check",
        "/v1/credit-notes/{credit_note_id}/e-invoice",
    )
)
# How their owner is told so; or what keeps a document from being an e-invoice.
NOT_HAD = frozenset(("invoice_not_issued", "document_not_issued", "e_invoice_impossible"))
# Only counters have what is told of these meters.
OF_COUNTERS = frozenset(("/v1/reading-consumptions",))

# Query parameters that name nothing: pages, times, states.
PLAIN_QUERIES = frozenset(
    (
        "due_until",
        "limit",
        "way",
        "received_from",
        "received_to",
        "has_unapplied",
        "direction",
        "columns",
        "decimal",
        "date_order",
        "charset",
        "cursor",
        "created_from",
        "created_to",
        "from",
        "to",
        "boundary_from",
        "boundary_to",
        "issued_from",
        "issued_to",
        "posting",
        "at",
        "bucket",
        "after",
        "window",
        "zone",
        "group_by",
        "filter",
        "fill",
        "is_billable",
        "format",
        "language",
        "account",
        "status",
        "state",
        "mode",
        "kind",
        "archived",
        "on",
        "currency",
        "document_kind",
        "withdrawn",
        "dry_run",
        "outcome",
        "prune",
        "country",
        "tax_category",
        "gathers",
        "due_before",
        "revision",
        "overdue",
        "tenure_days_min",
        "expiring_by",
        "is_done",
    )
)

# Fields of request bodies that name a thing which is there already.
REFERENCES = frozenset(
    (
        "payment_id",
        "mail_id",
        "customer_id",
        "parent_id",
        "subscription_id",
        "item_id",
        "plan",
        "plan_version_id",
        "test_clock_id",
        "product",
        "product_id",
        "meter",
        "feature",
        "for_plans",
        "coupon",
        "coupon_id",
        "products",
        "plans",
        "plan_overlay_id",
        "product_ids",
        "quote_id",
        "payer_id",
        "co_term_with",
        "from_plan_version_id",
        "to_plan_version_id",
        "seller_id",
        "invoice_id",
        "line_id",
        "replaces",
    )
)

# What is taken at its word: a catalog may lay down terms for a customer that it has not heard of, and a preview supposes
# what may not be there at all. It shows what it was sent, and nothing else.
_SUPPOSED = ("subscription_id", "customer_id", "plan_version_id", "product_id", "item_id")
UNCHECKED = frozenset(
    {
        ("POST", "/v1/plan-overlays", "customer_id"),
        *(("POST", "/v1/invoice-previews", name) for name in _SUPPOSED),
        *(("POST", "/v1/usage-window-previews", name) for name in _SUPPOSED),
        # Billing knows no products but by the prices that it bills: a line says what it is for, and bills by itself.
        ("POST", "/v1/invoices", "product_id"),
        ("POST", "/v1/invoices/{invoice_id}/manual-lines", "product_id"),
        ("PATCH", "/v1/invoices/{invoice_id}/manual-lines/{manual_line_id}", "product_id"),
        ("POST", "/v1/wallets/{wallet_id}/grants", "product_ids"),
    }
)

# Fields that name nothing of a tenant's, or make a name. `token_id` names a token, which no tenant owns by its
# id: what a stranger's revocation does has a test of its own. `id` is an operator's choice for a new tenant,
# and a sender's for a usage event.
PLAIN_FIELDS = frozenset(
    (
        "account",
        "allocate",
        "allocations",
        "bank",
        "bic",
        "contact_name",
        "delivery",
        "details",
        "e_invoice",
        "electronic_address",
        "end_after_days",
        "holder",
        "iban",
        "is_default",
        "legal_id",
        "mail_to",
        "note",
        "outcome",
        "payer",
        "pays_by",
        "phone",
        "postal_address",
        "received_on",
        "reference",
        "retry_days",
        "returned",
        "suspend_after_days",
        "suspends",
        "token",
        "way",
        "writes_off",
        "message_id",
        "permanent",
        "is_address",
        "intro",
        "mails",
        "payment_url",
        "mail_from",
        "language",
        "colour",
        "show",
        "content",
        "subscription",
        "change",
        "cancellation",
        "pause",
        "resumption",
        "activation",
        "id",
        "token_id",
        "code",
        "name",
        "kind",
        "unit",
        "description",
        "external_id",
        "metadata",
        "currency",
        "interval",
        "prices",
        "count",
        "model",
        "timing",
        "unit_amount",
        "tiers",
        "up_to",
        "flat_amount",
        "package_size",
        "included_quantity",
        "proration",
        "charges_first_flat_at_zero",
        "package_rounding",
        "rate_percent",
        "fixed_amount_per_event",
        "free_events",
        "free_amount",
        "minimum_amount_per_event",
        "maximum_amount_per_event",
        "dimensions",
        "cells",
        "values",
        "capacity_basis",
        "expression",
        "allowance_interval",
        "allowance_pool",
        "rollover",
        "cap",
        "cap_amount",
        "minimum_amount",
        "maximum_amount",
        "tax_behavior",
        "phase",
        "phases",
        "trial",
        "requires_payment_method",
        "commitments",
        "price_codes",
        "per",
        "minimum_quantity",
        "features",
        "limit",
        "marks",
        "raw_kept_days",
        "effective_from",
        "allowance",
        "overage_allowed",
        "term",
        "email",
        "legal_name",
        "line1",
        "line2",
        "postal_code",
        "city",
        "region",
        "vat_id",
        "locale",
        "country",
        "zone",
        "quantities",
        "starts_on",
        "ends_on",
        "bindings",
        "subject",
        "bound_from",
        "asset_id",
        "bound_until",
        "at",
        "at_period_end",
        "starts_at",
        "to",
        "number_prefix",
        "payment_terms_days",
        "address",
        "tax_number",
        "gateway",
        "behaviour",
        "mode",
        "expires_at",
        "event_type",
        "aggregation",
        "value",
        "group_by",
        "filter",
        "tax_category",
        "gtin",
        "percent",
        "amount",
        "duration",
        "periods",
        "stacking_order",
        "redemptions_max",
        "redemptions_per_customer_max",
        "valid_from",
        "valid_until",
        "perennial_catalog",
        "meters",
        "publish",
        "anchor_on",
        "candidates",
        "category",
        "coupons",
        "draft",
        "end",
        "event_count",
        "events",
        "explanations",
        "groups",
        "in_use_from",
        "in_use_until",
        "late",
        "level",
        "levels",
        "number",
        "on",
        "period",
        "period_index",
        "price",
        "properties",
        "quantity",
        "reason",
        "start",
        "taxes",
        "usage",
        "usage_of",
        "with_trial",
        "specversion",
        "source",
        "type",
        "time",
        "datacontenttype",
        "data",
        "topic",
        "partition",
        "from_offset",
        "since",
        "length",
        "notice",
        "on_end",
        "step_down_plan",
        "early_termination",
        "rates",
        "months_held",
        "percent_more",
        "months",
        "reminder_days",
        "begins",
        "valid_days",
        "declared_by",
        "start_on",
        "end_on",
        "statement",
        "waives_term",
        "withdrawal_days",
        "add",
        "add_ons",
        "anchoring",
        "dry_run",
        "extends_term",
        "fee",
        "remove",
        "resumes_on",
        "indexation",
        "settle",
        "version",
        "when",
        "billing_starts",
        "first_part",
        "billed_until",
        "bills_usage",
        "none",
        "without_payment_method",
        "day_count",
        "change_day",
        "end_day",
        "stub",
        "credits_to",
        "credit",
        "late_usage",
        "dunning",
        "window_days",
        "counter",
        "register_digits",
        "decimals",
        "rate_max",
        "estimate",
        "policy",
        "in_a_row",
        "backwards",
        "read_at",
        "device",
        "quality",
        "old_end",
        "new_start",
        "is_certain",
        "decision",
        "voids",
        "amendments",
        "event",
        "peak_of",
        "by_day",
        "exclude",
        "value_expression",
        "filter_expression",
        "operation",
        "keeps",
        "until",
        "run_limit_multiple",
        "requires_run",
        "gathering_hours",
        "tax_rounding",
        "registrations",
        "scheme",
        "supplies",
        "service_period_start",
        "service_period_end",
        "buyer",
        "invoiced_on",
        "is_business",
        "tax_status",
        "tax_exemption_reason",
        "number_reset",
        "credit_note_prefix",
        "deposit_prefix",
        "compensation_prefix",
        "payment_terms_from",
        "due_day_rule",
        "draft_grace_hours",
        "zero_invoices",
        "footer",
        "gathers",
        "purchase_order",
        "buyer_reference",
        "notes",
        "lines",
        "finalize",
        "payment_terms",
        "days",
        "counted_from",
        "purpose",
        "service_period",
        "split",
        "to_invoice",
        "to_balance",
        "to_refund",
        "rest_to",
        "set_off",
        "threshold",
        "monthly_limit",
        "grants_on",
        "top_up",
        "top_up_priority",
        "top_up_expires_after_days",
        "cost",
        "priority",
        "scope",
        "asset",
    )
)

# These judge the entries of a body one by one: under a 200, each has a result of its own.
BY_ENTRY = frozenset(
    ("/v1/usage-events", "/v1/usage-events/voids", "/v1/usage-events/amendments", "/v1/meter-readings")
)
# As clients of OpenMeter expect it: 204 when nothing is wrong with any, else 400.
OPENMETER = "/api/v1/events"
# A run waits for one decision: what comes after it is refused by what there is, and not by what was sent.
DECIDED_ONCE = frozenset(
    ("/v1/billing-runs/{billing_run_id}/approvals", "/v1/billing-runs/{billing_run_id}/rejections")
)
RESUBMISSION = "/v1/usage-rejects/{reject_id}/resubmission"
# These take bodies as they come, packed ones too, and say by themselves what is wrong with the whole of one.
UNPACKED = frozenset(("/v1/usage-events", "/v1/usage-events/voids", "/v1/usage-events/amendments", OPENMETER))
# These take files of others, as they come: what is wrong with one is told by tests of their own.
FILES = frozenset(("/v1/bank-statements", "/v1/mail-notices"))
# Where the usage event stands: it may have attributes that nobody knows, and any data.
EVENT_PLACES: Mapping[str, tuple[str | int, ...]] = {
    OPENMETER: (0,),
    "/v1/usage-events/amendments": ("amendments", 0, "event"),
    RESUBMISSION: ("event",),
}

_PARAMETER = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class Operation:
    """One route with one method, with its entry in the OpenAPI document."""

    service: str
    method: str
    path: str
    access: Authorised
    told: Mapping[str, Any]
    document: Mapping[str, Any] = field(repr=False)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def for_operators(self) -> bool:
        return self.access.scope == OPERATE

    @property
    def writes(self) -> bool:
        return self.method != "GET"

    @property
    def changes(self) -> bool:
        """What asks for no more than reading changes nothing, by whatever method it is asked."""
        return self.writes and not self.access.scope.endswith(":read")

    @property
    def path_parameters(self) -> tuple[str, ...]:
        return tuple(_PARAMETER.findall(self.path))

    @property
    def queries(self) -> Mapping[str, Mapping[str, Any]]:
        return {p["name"]: p for p in self.told.get("parameters", []) if p["in"] == "query"}

    @property
    def is_list(self) -> bool:
        return self.method == "GET" and "cursor" in self.queries

    def needs(self, story: Story) -> dict[str, str]:
        """The query parameters without which nothing is answered, about the story's things."""
        required = [name for name, parameter in self.queries.items() if parameter.get("required")]
        named = dict.fromkeys((*required, *QUESTIONS.get(self.path, ())))
        time = QUESTION_TIME if self.path in QUESTIONS else {}
        things = {name: story.first(self.query_kind(name)) for name in named if name not in PLAIN_NEEDED}
        return {**{name: PLAIN_NEEDED[name] for name in named if name in PLAIN_NEEDED}, **things, **time}

    def query_kind(self, name: str) -> str:
        """What a query parameter names."""
        return "counter" if name == "meter" and self.path in OF_COUNTERS else QUERY_KINDS[name]

    @property
    def media_types(self) -> tuple[str, ...]:
        return tuple(self.told.get("requestBody", {}).get("content", {}))

    @property
    def needs_a_body(self) -> bool:
        return bool(self.told.get("requestBody", {}).get("required"))

    def address(self, values: Mapping[str, str]) -> str:
        return _PARAMETER.sub(lambda match: values[match.group(1)], self.path)

    def body_fields(self) -> set[str]:
        """The names of all properties of the request body, however deep."""
        found: set[str] = set()
        for content in self.told.get("requestBody", {}).get("content", {}).values():
            found |= set(_properties(content["schema"], self.document, set()))
        return found


def operations_of(services: Mapping[str, Service]) -> list[Operation]:
    """Every route that is guarded. Fails where one is hidden: not in the OpenAPI document, or without an access."""
    found = []
    for name, service in services.items():
        document = service.app.openapi()
        accesses = {(route.method, route.path): route.access for route in route_accesses(service.app)}
        told = {
            (method.upper(), path)
            for path, methods in document["paths"].items()
            for method in methods
            if path.startswith(GUARDED) and not path.startswith(SIGNED)
        }
        assert told == set(accesses), f"{name}: {told ^ set(accesses)} is hidden or has no access"
        plain = [
            path
            for route in service.app.routes
            if (path := getattr(route, "path_format", "")).startswith("/v1")
        ]
        plain = [path for path in plain if not path.startswith(SIGNED)]
        assert not [path for path in plain if path not in {path for _, path in told}], f"{name}: {plain}"
        for (method, path), access in accesses.items():
            entry = document["paths"][path][method.lower()]
            found.append(Operation(name, method, path, access, entry, document))
    return found


def _properties(schema: Mapping[str, Any], document: Mapping[str, Any], seen: set[str]) -> Iterator[str]:
    reference = schema.get("$ref")
    if reference is not None:
        if reference in seen:
            return
        name = reference.rsplit("/", 1)[1]
        yield from _properties(document["components"]["schemas"][name], document, seen | {reference})
    for name, inner in schema.get("properties", {}).items():
        yield name
        yield from _properties(inner, document, seen)
    for word in ("anyOf", "oneOf", "allOf"):
        for inner in schema.get(word, ()):
            yield from _properties(inner, document, seen)
    if isinstance(schema.get("items"), Mapping):
        yield from _properties(schema["items"], document, seen)
