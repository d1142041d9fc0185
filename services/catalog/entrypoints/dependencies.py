"""What the routes ask for: who calls, with which scope, and the clock."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from libs.common.access.scopes import OPERATE
from libs.common.clock import Clock
from libs.common.web.calls import Call, authorised
from services.catalog.adapters.unit_of_work import CatalogUnitOfWork


def clock_of(request: Request) -> Clock:
    clock: Clock = request.app.state.platform.clock
    return clock


ClockDep = Annotated[Clock, Depends(clock_of)]

OperatorCall = Annotated[Call[CatalogUnitOfWork], authorised(OPERATE)]
OperatorMakeCall = Annotated[Call[CatalogUnitOfWork], authorised(OPERATE, once="optional")]
RevokeCall = Annotated[Call[CatalogUnitOfWork], authorised("tokens:write", operators=True, once="optional")]
ReadCall = Annotated[Call[CatalogUnitOfWork], authorised("catalog:read")]
WriteCall = Annotated[Call[CatalogUnitOfWork], authorised("catalog:write")]
MakeCall = Annotated[Call[CatalogUnitOfWork], authorised("catalog:write", once="optional")]
RedeemCall = Annotated[Call[CatalogUnitOfWork], authorised("catalog:write", once="required")]
