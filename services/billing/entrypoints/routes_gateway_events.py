"""Where gateways tell us that something happened. Who they are, their signatures say: they have no token."""

from __future__ import annotations

import asyncio
from typing import Annotated, ClassVar, Self

from fastapi import Query
from opentelemetry import trace
from starlette.requests import Request

from libs.common.clock import Clock
from libs.common.paging import Slice
from libs.common.telemetry import current_traceparent, metrics
from libs.common.web.bodies import Instant, StrictBody
from libs.common.web.calls import Call, authorised
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from libs.common.web.problem import BadRequest, RequestTimedOut
from services.billing.adapters.gateway_accounts import GatewayAccounts
from services.billing.adapters.stripe_events import is_genuine, read_event
from services.billing.adapters.stripe_gateway import STRIPE
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.keep_gateway_event import KeepGatewayEvent, keep_gateway_event
from services.billing.domain.gateway_event import GatewayEvent

OPEN_PREFIX = "/v1/gateway-events/"
BODY_TIMEOUT_S = 10.0
BODY_BYTES_MAX = 1024 * 1024

Read = Annotated[Call[BillingUnitOfWork], authorised("billing:read")]


class GatewayEventNotVerified(BadRequest):
    """Not signed with the account's secret, or too long ago. It is not said which, nor whether there is the account."""

    code: ClassVar[str] = "gateway_event_not_verified"
    title: ClassVar[str] = "The event cannot be verified"


class GatewayEventMalformed(BadRequest):
    code: ClassVar[str] = "gateway_event_malformed"
    title: ClassVar[str] = "The body is no event"


class ReceivedBody(StrictBody):
    """`kept` says whether it was new and is about something of ours."""

    kept: bool


class GatewayEventBody(StrictBody):
    """What an event is about. `subject_id` is the gateway's id, `our_id` that of the attempt or refund behind it."""

    id: str
    gateway: str
    account: str
    event_id: str
    type: str
    subject_kind: str
    subject_id: str
    our_id: str | None
    attempts: int
    last_error: str | None
    happened_at: Instant
    created_at: Instant
    done_at: Instant | None

    @classmethod
    def from_domain(cls, event: GatewayEvent) -> Self:
        return cls(**{name: getattr(event, name) for name in cls.model_fields})


def gateway_event_router(clock: Clock, *, accounts: GatewayAccounts) -> LateRouter:
    """The routes, on the clock of the process."""
    router = LateRouter(prefix="/v1", tags=["payments"])

    @router.get("/gateway-events", response_model=Page[GatewayEventBody], summary="List gateway events")
    async def list_gateway_events(
        call: Read, page: PageDep, is_done: Annotated[bool | None, Query()] = None
    ) -> object:
        async def work(uow: BillingUnitOfWork) -> Slice[GatewayEventBody]:
            found = await uow.gateway_events.list(page, is_done=is_done)
            return found.map(GatewayEventBody.from_domain)

        return await call.page(work)

    @router.post(
        "/gateway-events/stripe/{tenant}/{account}",
        response_model=ReceivedBody,
        summary="Receive an event of Stripe",
    )
    async def receive_stripe_event(tenant: str, account: str, request: Request) -> ReceivedBody:
        """Signed by Stripe over the body as it is, at most five minutes ago. The same event again changes nothing."""
        body = await _body_of(request)
        known = accounts.find(tenant, account)
        secrets = known.webhook_secrets if known is not None else ()
        now = clock.system_now()
        if not is_genuine(body, request.headers.get("stripe-signature", ""), secrets, now=now):
            metrics.gateway_event("billing", "refused")
            raise GatewayEventNotVerified(
                "the signature does not fit the body, the account and the time",
                remedy="Send it as Stripe signed it, within five minutes, to the address of its account.",
            )
        try:
            event = read_event(body)
        except ValueError:
            raise GatewayEventMalformed("the body is signed, and is no event") from None
        if event is None:
            metrics.gateway_event("billing", "passed_over")
            return ReceivedBody(kept=False)
        command = KeepGatewayEvent(
            gateway=STRIPE,
            account=account,
            event_id=event.id,
            type=event.type,
            subject_kind=event.subject_kind,
            subject_id=event.subject_id,
            our_id=event.our_id,
            happened_at=event.happened_at,
            traceparent=current_traceparent(),
        )
        trace.get_current_span().set_attribute("perennial.tenant", tenant)
        async with request.app.state.open_uow(tenant=tenant, actor=f"gateway:{STRIPE}/{account}") as uow:
            kept = await keep_gateway_event(command, now=now, uow=uow)
        metrics.gateway_event("billing", "kept" if kept else "repeated")
        return ReceivedBody(kept=kept)

    return router


async def _body_of(request: Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await request.body()
    except TimeoutError:
        raise RequestTimedOut(f"the body did not arrive within {BODY_TIMEOUT_S:g} seconds") from None
