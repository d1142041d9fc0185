"""A stand-in for Stripe's API: a real HTTP server with its state machine, idempotency keys, signed webhooks, and faults.

What it does by itself is what Stripe's documentation says: the first answer under an Idempotency-Key is kept and given
again, 500 as well; the same key with other parameters is refused, and answered 409 while the first request is under way;
a declined payment answers 402 with its intent, which can still be paid until it is canceled. What goes wrong is said by
a `Faults`, by seed. Money is what `charges` holds.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

SECRET_KEY = "sk_test_0123456789abcdef"
WEBHOOK_SECRET = "whsec_0123456789abcdef0123456789"

Fault = Literal["none", "cut_before", "cut_after", "late", "error_before", "error_after", "too_many", "twice"]
Thing = dict[str, Any]

# What becomes of a payment with a method of this token.
DECLINES, PROCESSES, PROCESSES_THEN_FAILS, NEEDS_ACTION = (
    "pm_declines0000",
    "pm_processes0000",
    "pm_processesFails",
    "pm_needsAction00",
)


@dataclass
class Faults:
    """How often what goes wrong, by seed. `webhook_first`: the event comes before the answer to what caused it.

    `error_…` answers 500 and `cut_…` nothing, before or after the work was done; `late` answers after the caller has
    given up. `twice` does nothing to the answer: the request is carried out again, as a proxy might send it.
    """

    random: random.Random
    share: float = 0.0
    webhook_first: float = 0.0
    webhook_repeated: float = 0.0
    webhook_lost: float = 0.0
    settles: float = 1.0
    kinds: Sequence[Fault] = (
        "cut_before",
        "cut_after",
        "late",
        "error_before",
        "error_after",
        "too_many",
        "twice",
    )

    def next(self) -> Fault:
        return self.random.choice(self.kinds) if self.random.random() < self.share else "none"

    def happens(self, share: float) -> bool:
        return self.random.random() < share


@dataclass
class _Kept:
    parameters: str
    status: int
    body: bytes


@dataclass
class StandIn:
    """`send` delivers a webhook: its body and its header. `now` is the time by which events are signed."""

    faults: Faults = field(default_factory=lambda: Faults(random.Random(0)))
    send: Callable[[bytes, str], Any] | None = None
    now: Callable[[], float] = lambda: 1_750_000_000.0
    late_s: float = 0.05
    url: str = ""
    intents: dict[str, Thing] = field(default_factory=dict)
    refunds: dict[str, Thing] = field(default_factory=dict)
    disputes: dict[str, Thing] = field(default_factory=dict)
    methods: dict[str, Thing] = field(default_factory=dict)
    customers: dict[str, Thing] = field(default_factory=dict)
    charges: list[tuple[str, int, str]] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    waiting: list[bytes] = field(default_factory=list)
    _keys: dict[str, _Kept] = field(default_factory=dict)
    _under_way: set[str] = field(default_factory=set)
    _count: int = 0

    # --- what a test does to it -------------------------------------------------------------------------------------

    def taken(self, attempt_id: str) -> int:
        """What was charged for an attempt, in the units of Stripe; one charge is one entry."""
        return sum(amount for attempt, amount, _ in self.charges if attempt == attempt_id)

    def charges_of(self, attempt_id: str) -> int:
        return sum(1 for attempt, _, _ in self.charges if attempt == attempt_id)

    def reset(self) -> None:
        """As if nobody had ever asked for anything."""
        for kept in (self.intents, self.refunds, self.disputes, self.methods, self.customers, self._keys):
            kept.clear()
        for told in (self.charges, self.requests, self.waiting):
            told.clear()

    def forget_keys(self) -> None:
        """As after more than 24 hours."""
        self._keys.clear()

    def settle(self, intent_id: str) -> None:
        """The bank has acted on a payment that was in process."""
        intent = self.intents[intent_id]
        if intent["status"] != "processing":
            return
        if intent["payment_method"] == PROCESSES_THEN_FAILS:
            self._decline(intent, "insufficient_funds")
        else:
            self._succeed(intent)

    def settle_all(self) -> None:
        for id in list(self.intents):
            self.settle(id)
        for refund in self.refunds.values():
            if refund["status"] == "pending":
                refund["status"] = "succeeded"
                self._tell("refund.updated", refund)

    def open_dispute(self, intent_id: str, *, amount: int | None = None, reason: str = "fraudulent") -> Thing:
        intent = self.intents[intent_id]
        dispute = self._made("dp", "dispute", {})
        dispute |= {
            "amount": amount or intent["amount"],
            "currency": intent["currency"],
            "payment_intent": intent_id,
            "reason": reason,
            "status": "needs_response",
        }
        self.disputes[dispute["id"]] = dispute
        self._tell("charge.dispute.created", dispute)
        return dispute

    def close_dispute(self, id: str, status: Literal["won", "lost"]) -> None:
        self.disputes[id]["status"] = status
        self._tell("charge.dispute.closed", self.disputes[id])

    def detach(self, token: str) -> None:
        self.methods[token]["customer"] = None
        self._tell("payment_method.detached", self.methods[token])

    def renew_card(self, token: str, *, year: int) -> None:
        self.methods[token]["card"]["exp_year"] = year
        self._tell("payment_method.automatically_updated", self.methods[token])

    def add_method(self, token: str, *, customer: str | None = None, brand: str = "visa") -> Thing:
        card = {"brand": brand, "last4": "4242", "exp_month": 12, "exp_year": 2031}
        method = {"id": token, "object": "payment_method", "type": "card", "card": card, "customer": customer}
        self.methods[token] = method
        return method

    def event(self, type: str, thing: Thing) -> tuple[bytes, str]:
        """A signed event about a thing as it stands."""
        self._count += 1
        told = {
            "id": f"evt_{self._count:08d}",
            "object": "event",
            "type": type,
            "created": int(self.now()),
            "data": {"object": thing},
        }
        body = json.dumps(told).encode()
        return body, signature(body, at=int(self.now()))

    async def deliver(self, *, shuffled: bool = True) -> int:
        """Webhooks that wait, in any order, signed as they leave; some are lost, some come twice."""
        waiting, self.waiting = self.waiting, []
        if shuffled:
            self.faults.random.shuffle(waiting)
        for body in waiting:
            if self.faults.happens(self.faults.webhook_lost):
                continue
            for _ in range(1 + self.faults.happens(self.faults.webhook_repeated)):
                if self.send is not None:
                    await self.send(body, signature(body, at=int(self.now())))
        return len(waiting)

    # --- HTTP -------------------------------------------------------------------------------------------------------

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, which is kept for further requests."""
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._answer(reader, writer):
                pass
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *lines = head.decode().split("\r\n")
        method, target, _ = line.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        parts = urlsplit(target)
        self.requests.append((method, unquote(parts.path)))
        fields = dict(parse_qsl(body.decode() if method == "POST" else parts.query))
        fault = self.faults.next()
        if fault == "cut_before":
            return False
        if fault == "too_many":
            return await _write(writer, 429, _error("rate_limit_error", "rate_limit"))
        if fault == "error_before" and method != "POST":
            return await _write(writer, 500, _error("api_error", None))
        status, answer = self._keyed(method, unquote(parts.path), fields, headers, fault)
        if fault == "twice":
            status, answer = self._keyed(method, unquote(parts.path), fields, headers, "none")
        if self.faults.happens(self.faults.webhook_first):
            await self.deliver()
        if fault == "cut_after":
            return False
        if fault == "late":
            key = headers.get("idempotency-key", "")
            self._under_way.add(key)
            await asyncio.sleep(self.late_s)
            self._under_way.discard(key)
        return await _write(writer, status, answer)

    def _keyed(
        self, method: str, path: str, fields: Mapping[str, str], headers: Mapping[str, str], fault: Fault
    ) -> tuple[int, bytes]:
        """Under a key, the first answer is the answer, errors of the server as well."""
        if headers.get("authorization") != f"Bearer {SECRET_KEY}":
            return 401, _error("invalid_request_error", "api_key_invalid")
        key = headers.get("idempotency-key")
        told = json.dumps([method, path, sorted(fields.items())])
        if key in self._under_way:
            return 409, _error("idempotency_error", "idempotency_key_in_use")
        if key is not None and key in self._keys:
            kept = self._keys[key]
            if kept.parameters != told:
                return 400, _error("idempotency_error", None)
            return kept.status, kept.body
        if fault == "error_before":
            status, answer = 500, _error("api_error", None)
        else:
            status, answer = self.do(method, path, fields)
            if fault == "error_after" and method == "POST":
                status, answer = 500, _error("api_error", None)
        if key is not None and status != 404:
            self._keys[key] = _Kept(told, status, answer)
        return status, answer

    def do(self, method: str, path: str, fields: Mapping[str, str]) -> tuple[int, bytes]:
        """One request, without its key and its faults."""
        match method, *path.removeprefix("/v1/").split("/"):
            case "POST", "payment_intents":
                return self._create_intent(fields)
            case "GET", "payment_intents":
                return self._listed(self.intents, fields, "customer")
            case "GET", "payment_intents", id:
                return self._shown(self.intents, id)
            case "POST", "payment_intents", id, "cancel":
                return self._cancel(id)
            case "POST", "refunds":
                return self._refund(fields)
            case "GET", "refunds":
                return self._listed(self.refunds, fields, "payment_intent")
            case "GET", "refunds", id:
                return self._shown(self.refunds, id)
            case "GET", "disputes", id:
                return self._shown_dispute(id)
            case "POST", "disputes", id, "close":
                return self._close(id)
            case "POST", "payment_methods", id, "detach":
                return self._detach(id)
            case "GET", "payment_methods", id:
                return self._shown(self.methods, id)
            case "POST", "payment_methods", id, "attach":
                return self._attach(id, fields)
            case "POST", "customers":
                customer = self._made("cus", "customer", fields)
                self.customers[customer["id"]] = customer
                return _ok(customer)
        return 404, _error("invalid_request_error", "url_invalid")

    # --- the state machine ------------------------------------------------------------------------------------------

    def _create_intent(self, fields: Mapping[str, str]) -> tuple[int, bytes]:
        method = self.methods.get(fields["payment_method"])
        if method is None or method["customer"] != fields["customer"]:
            return 400, _error("invalid_request_error", "resource_missing")
        intent = self._made("pi", "payment_intent", fields)
        intent |= {
            "amount": int(fields["amount"]),
            "currency": fields["currency"],
            "customer": fields["customer"],
            "payment_method": fields["payment_method"],
            "status": "requires_confirmation",
            "last_payment_error": None,
        }
        self.intents[intent["id"]] = intent
        match fields["payment_method"]:
            case token if token == DECLINES:
                self._decline(intent, "generic_decline")
                return 402, _error("card_error", "card_declined", "generic_decline", intent)
            case token if token in (PROCESSES, PROCESSES_THEN_FAILS):
                intent["status"] = "processing"
                self._tell("payment_intent.processing", intent)
            case token if token == NEEDS_ACTION:
                intent["status"] = "requires_action"
                self._tell("payment_intent.requires_action", intent)
            case _:
                self._succeed(intent)
        return _ok(intent)

    def _succeed(self, intent: Thing) -> None:
        intent["status"] = "succeeded"
        attempt = intent["metadata"].get("perennial_attempt", "")
        self.charges.append((attempt, intent["amount"], intent["id"]))
        self._tell("payment_intent.succeeded", intent)

    def _decline(self, intent: Thing, reason: str) -> None:
        intent["status"] = "requires_payment_method"
        intent["last_payment_error"] = {"code": "card_declined", "decline_code": reason}
        self._tell("payment_intent.payment_failed", intent)

    def pay_from_the_dashboard(self, intent_id: str) -> bool:
        """Somebody confirms an intent once more, with another card: it works until the intent is canceled."""
        intent = self.intents[intent_id]
        if intent["status"] != "requires_payment_method":
            return False
        self._succeed(intent)
        return True

    def _cancel(self, id: str) -> tuple[int, bytes]:
        intent = self.intents[id]
        if intent["status"] in ("succeeded", "canceled", "processing"):
            return 400, _error("invalid_request_error", "payment_intent_unexpected_state", None, intent)
        intent["status"] = "canceled"
        self._tell("payment_intent.canceled", intent)
        return _ok(intent)

    def _refund(self, fields: Mapping[str, str]) -> tuple[int, bytes]:
        intent = self.intents.get(fields["payment_intent"])
        amount = int(fields["amount"])
        if intent is None or intent["status"] != "succeeded":
            return 400, _error("invalid_request_error", "charge_not_refundable")
        given = sum(
            one["amount"]
            for one in self.refunds.values()
            if one["payment_intent"] == intent["id"] and one["status"] != "failed"
        )
        if given + amount > intent["amount"]:
            return 400, _error("invalid_request_error", "charge_already_refunded")
        refund = self._made("re", "refund", fields)
        refund |= {"amount": amount, "currency": intent["currency"], "payment_intent": intent["id"]}
        refund["status"] = "succeeded" if self.faults.happens(self.faults.settles) else "pending"
        self.refunds[refund["id"]] = refund
        self._tell("refund.created", refund)
        return _ok(refund)

    def _attach(self, id: str, fields: Mapping[str, str]) -> tuple[int, bytes]:
        if id not in self.methods:
            return 404, _error("invalid_request_error", "resource_missing")
        self.methods[id]["customer"] = fields["customer"]
        return _ok(self.methods[id])

    def _detach(self, id: str) -> tuple[int, bytes]:
        if self.methods.get(id, {}).get("customer") is None:
            return 400, _error("invalid_request_error", "payment_method_not_attached")
        self.detach(id)
        return _ok(self.methods[id])

    def _close(self, id: str) -> tuple[int, bytes]:
        if self.disputes[id]["status"] in ("won", "lost"):
            return 400, _error("invalid_request_error", "dispute_already_closed")
        self.close_dispute(id, "lost")
        return _ok(self.disputes[id])

    def _shown_dispute(self, id: str) -> tuple[int, bytes]:
        dispute = self.disputes.get(id)
        if dispute is None:
            return 404, _error("invalid_request_error", "resource_missing")
        return _ok({**dispute, "payment_intent": self.intents[dispute["payment_intent"]]})

    def _shown(self, things: Mapping[str, Thing], id: str) -> tuple[int, bytes]:
        found = things.get(id)
        return _ok(found) if found else (404, _error("invalid_request_error", "resource_missing"))

    def _listed(self, things: Mapping[str, Thing], fields: Mapping[str, str], by: str) -> tuple[int, bytes]:
        since = int(fields.get("created[gte]", 0))
        mine = [t for t in things.values() if t[by] == fields.get(by) and t["created"] >= since]
        mine.reverse()
        if "starting_after" in fields:
            ids = [thing["id"] for thing in mine]
            mine = mine[ids.index(fields["starting_after"]) + 1 :]
        page = mine[: int(fields.get("limit", 10))]
        return _ok({"object": "list", "data": page, "has_more": len(mine) > len(page)})

    def _made(self, prefix: str, kind: str, fields: Mapping[str, str]) -> Thing:
        self._count += 1
        metadata = {
            name.removeprefix("metadata[").removesuffix("]"): value
            for name, value in fields.items()
            if name.startswith("metadata[")
        }
        created = int(self.now())
        return {"id": f"{prefix}_{self._count:08d}", "object": kind, "metadata": metadata, "created": created}

    def _tell(self, type: str, thing: Thing) -> None:
        body, _ = self.event(type, dict(thing))
        self.waiting.append(body)


@asynccontextmanager
async def running_stand_in(stand_in: StandIn, *, port: int = 0) -> AsyncIterator[StandIn]:
    server = await asyncio.start_server(stand_in.serve, "127.0.0.1", port)
    host, bound = server.sockets[0].getsockname()[:2]
    stand_in.url = f"http://{host}:{bound}"
    async with server:
        yield stand_in


def signature(body: bytes, *, at: int, secret: str = WEBHOOK_SECRET) -> str:
    """The header `Stripe-Signature`."""
    signed = hmac.new(secret.encode(), b"%d.%s" % (at, body), hashlib.sha256).hexdigest()
    return f"t={at},v1={signed}"


def _ok(thing: Mapping[str, Any]) -> tuple[int, bytes]:
    return 200, json.dumps(thing).encode()


def _error(kind: str, code: str | None, decline: str | None = None, intent: Thing | None = None) -> bytes:
    told = {"type": kind, "code": code, "decline_code": decline, "payment_intent": intent}
    return json.dumps({"error": {name: value for name, value in told.items() if value is not None}}).encode()


async def _write(writer: asyncio.StreamWriter, status: int, body: bytes) -> bool:
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    return True
