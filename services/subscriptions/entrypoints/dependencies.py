"""What the routes ask for: who calls, with which scope, and the clock.

The clock's provider is a coroutine, although it waits for nothing: a plain function would cost a thread's turn each.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from libs.common.clock import Clock
from libs.common.web.calls import Call, authorised
from services.subscriptions.adapters.unit_of_work import SubscriptionsUnitOfWork


async def _clock(request: Request) -> Clock:
    clock: Clock = request.app.state.platform.clock
    return clock


ClockDep = Annotated[Clock, Depends(_clock)]

ReadCall = Annotated[Call[SubscriptionsUnitOfWork], authorised("subscriptions:read")]
PortalReadCall = Annotated[Call[SubscriptionsUnitOfWork], authorised("subscriptions:read", portal=True)]
WriteCall = Annotated[Call[SubscriptionsUnitOfWork], authorised("subscriptions:write")]
MakeCall = Annotated[Call[SubscriptionsUnitOfWork], authorised("subscriptions:write", once="optional")]
AgreeCall = Annotated[Call[SubscriptionsUnitOfWork], authorised("subscriptions:write", once="required")]
PortalDeclareCall = Annotated[
    Call[SubscriptionsUnitOfWork], authorised("subscriptions:write", portal=True, once="required")
]
ClockReadCall = Annotated[Call[SubscriptionsUnitOfWork], authorised("clocks:read")]
ClockMakeCall = Annotated[Call[SubscriptionsUnitOfWork], authorised("clocks:write", once="optional")]
