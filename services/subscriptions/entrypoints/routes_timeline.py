"""The timeline of a subscription."""

from __future__ import annotations

from starlette.responses import Response

from libs.common.paging import Slice
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.subscriptions.adapters.unit_of_work import SubscriptionsUnitOfWork
from services.subscriptions.application import queries
from services.subscriptions.entrypoints.bodies import SubscriptionId
from services.subscriptions.entrypoints.dependencies import PortalReadCall
from services.subscriptions.entrypoints.timeline_bodies import TimelineEntryBody

router = LateRouter(prefix="/v1/subscriptions", tags=["subscriptions"])


@router.get(
    "/{subscription_id}/timeline", response_model=Page[TimelineEntryBody], summary="Read what happened"
)
async def list_timeline(subscription_id: SubscriptionId, call: PortalReadCall, page: PageDep) -> Response:
    """Every event, change, document and payment, in the order of business time, in words and with its trace."""

    async def work(uow: SubscriptionsUnitOfWork) -> Slice[TimelineEntryBody]:
        found = await queries.list_timeline(subscription_id, page, portal_customer=call.customer, uow=uow)
        return found.map(TimelineEntryBody.from_domain)

    return await call.page(work)
