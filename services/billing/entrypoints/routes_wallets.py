"""Wallets over HTTP: prepaid credits, what was granted, what became of it, and buying more."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.clock import Clock
from libs.common.errors import RuleViolation
from libs.common.ids import new_id
from libs.common.money import Money
from libs.common.paging import Slice
from libs.common.web.bodies import Currency
from libs.common.web.calls import Call, authorised
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.adapters.wallet_queries import WalletQueries
from services.billing.application.add_payment_method import CustomerNotFound
from services.billing.application.finalize_invoice import finalize_if_complete
from services.billing.application.grant_credits import grant_credits, void_grant
from services.billing.application.open_wallet import change_wallet, open_wallet
from services.billing.application.top_up_wallet import TopUpWallet, top_up_wallet
from services.billing.domain.wallet import Wallet
from services.billing.entrypoints.bodies import CustomerId
from services.billing.entrypoints.wallet_bodies import (
    GrantBody,
    GrantId,
    GrantVoidBody,
    NewGrantBody,
    NewTopUpBody,
    NewWalletBody,
    TopUpBody,
    WalletBody,
    WalletChangeBody,
    WalletEntryBody,
    WalletId,
    check_fineness,
    check_settings,
)

PortalRead = Annotated[Call[BillingUnitOfWork], authorised("billing:read", portal=True)]
Make = Annotated[Call[BillingUnitOfWork], authorised("billing:write", once="required")]
Change = Annotated[Call[BillingUnitOfWork], authorised("billing:write")]


class WalletSettingsInvalid(RuleViolation):
    """What is asked for does not fit the wallet: its currency, or what it holds."""

    code = "wallet_settings_invalid"
    title = "Not for this wallet"


def wallet_router(clock: Clock) -> LateRouter:
    """The routes, on the clock of the process."""
    router = LateRouter(prefix="/v1", tags=["wallets"])

    async def now_of(wallet: Wallet, uow: BillingUnitOfWork) -> datetime:
        return clock.business_now(await uow.test_clock(wallet.clock_id))

    @router.post("/wallets", status_code=201, response_model=WalletBody, summary="Open a wallet")
    async def post_wallet(body: NewWalletBody, call: Make) -> Response:
        """Of money in a currency, or of units. With a `top_up` rule, the first credits are bought at once."""

        async def work(uow: BillingUnitOfWork) -> WalletBody:
            customer = await uow.customers.find(body.customer_id)
            clock_id = None if customer is None else customer.clock_id
            now = clock.business_now(await uow.test_clock(clock_id))
            command = body.to_command(new_id("wal", clock.system_now()))
            return WalletBody.from_domain(await open_wallet(command, clock_id=clock_id, now=now, uow=uow))

        return await call.once(
            work, location=lambda wallet: f"/v1/wallets/{wallet.id}", awaiting=(CustomerNotFound,)
        )

    @router.get("/wallets", response_model=Page[WalletBody], summary="List wallets")
    async def list_wallets(
        call: PortalRead,
        page: PageDep,
        customer_id: Annotated[CustomerId | None, Query()] = None,
        currency: Annotated[Currency | None, Query()] = None,
    ) -> Response:
        async def work(uow: BillingUnitOfWork) -> Slice[WalletBody]:
            if call.customer is not None and customer_id not in (None, call.customer):
                return Slice(items=())
            found = await WalletQueries(uow).list_wallets(
                page, customer_id=call.customer or customer_id, currency=currency
            )
            return found.map(WalletBody.from_domain)

        return await call.page(work)

    @router.get("/wallets/{wallet_id}", response_model=WalletBody, summary="Show a wallet")
    async def get_wallet(wallet_id: WalletId, call: PortalRead) -> Response:
        async def work(uow: BillingUnitOfWork) -> WalletBody:
            return WalletBody.from_domain(await WalletQueries(uow).get(wallet_id, customer_id=call.customer))

        return await call.read(work)

    @router.patch("/wallets/{wallet_id}", response_model=WalletBody, summary="Change a wallet")
    async def patch_wallet(wallet_id: WalletId, body: WalletChangeBody, call: Change) -> Response:
        """How it is filled. What it holds is changed by grants and top-ups."""

        async def work(uow: BillingUnitOfWork) -> WalletBody:
            wallet = await uow.wallets.get_for_update(wallet_id)
            call.require_version(wallet.version)
            settings = body.applied_to(wallet)
            _fits(lambda: check_settings(settings, currency=wallet.currency, unit=wallet.unit), "")
            changed = change_wallet(wallet, settings, now=await now_of(wallet, uow), uow=uow)
            return WalletBody.from_domain(changed)

        return await call.change(work)

    @router.post(
        "/wallets/{wallet_id}/grants", status_code=201, response_model=GrantBody, summary="Grant credits"
    )
    async def post_wallet_grant(wallet_id: WalletId, body: NewGrantBody, call: Make) -> Response:
        """A gift, or what was paid for elsewhere. To sell credits on an invoice, make a top-up."""

        async def work(uow: BillingUnitOfWork) -> GrantBody:
            wallet = await uow.wallets.get_for_update(wallet_id)
            call.require_version(wallet.version)
            command = body.to_command(wallet.currency)
            _check_amounts(wallet, command.amount, command.cost, "/cost")
            return GrantBody.from_domain(
                grant_credits(command, wallet, now=await now_of(wallet, uow), uow=uow)
            )

        return await call.once(work, location=lambda grant: f"/v1/wallets/{grant.wallet_id}/grants")

    @router.get("/wallets/{wallet_id}/grants", response_model=Page[GrantBody], summary="List grants")
    async def list_wallet_grants(wallet_id: WalletId, call: PortalRead, page: PageDep) -> Response:
        """Also those of which nothing is left, oldest first."""

        async def work(uow: BillingUnitOfWork) -> Slice[GrantBody]:
            found = await WalletQueries(uow).list_grants(wallet_id, page, customer_id=call.customer)
            return found.map(GrantBody.from_domain)

        return await call.page(work)

    @router.post(
        "/wallets/{wallet_id}/grants/{grant_id}/voids",
        status_code=201,
        response_model=GrantBody,
        summary="Take a grant back",
    )
    async def post_wallet_grant_void(
        wallet_id: WalletId, grant_id: GrantId, body: GrantVoidBody, call: Make
    ) -> Response:
        """What is left of it. One that an invoice sold goes with its invoice: void that."""

        async def work(uow: BillingUnitOfWork) -> GrantBody:
            wallet = await uow.wallets.get_for_update(wallet_id)
            call.require_version(wallet.version)
            now = await now_of(wallet, uow)
            return GrantBody.from_domain(
                await void_grant(wallet_id, grant_id, reason=body.reason, now=now, uow=uow)
            )

        return await call.once(work)

    @router.get("/wallets/{wallet_id}/entries", response_model=Page[WalletEntryBody], summary="List entries")
    async def list_wallet_entries(wallet_id: WalletId, call: PortalRead, page: PageDep) -> Response:
        """Every movement of it, oldest first; they sum to its balance."""

        async def work(uow: BillingUnitOfWork) -> Slice[WalletEntryBody]:
            found = await WalletQueries(uow).list_entries(wallet_id, page, customer_id=call.customer)
            return found.map(WalletEntryBody.from_domain)

        return await call.page(work)

    @router.post(
        "/wallets/{wallet_id}/top-ups", status_code=201, response_model=TopUpBody, summary="Top a wallet up"
    )
    async def post_wallet_top_up(wallet_id: WalletId, body: NewTopUpBody, call: Make) -> Response:
        """An invoice for more credits, which are granted once. Of units it is taxed; money is taxed when it is used."""

        async def work(uow: BillingUnitOfWork) -> TopUpBody:
            wallet = await uow.wallets.get_for_update(wallet_id)
            call.require_version(wallet.version)
            price = None if body.price is None else body.price.to_money()
            _check_amounts(wallet, body.amount, price, "/price")
            payer = await uow.customers.find(wallet.customer_id)
            assert payer is not None, "a wallet was opened for somebody"
            now = await now_of(wallet, uow)
            command = TopUpWallet(new_id("tup", clock.system_now()), body.amount, price)
            top_up, document = await top_up_wallet(command, wallet, payer=payer, now=now, uow=uow)
            await finalize_if_complete(document, now=now, uow=uow)
            return TopUpBody.from_domain(await uow.wallets.find_top_up(document.id) or top_up)

        return await call.once(work, location=lambda top_up: f"/v1/invoices/{top_up.invoice_id}")

    @router.get("/wallets/{wallet_id}/top-ups", response_model=Page[TopUpBody], summary="List top-ups")
    async def list_wallet_top_ups(wallet_id: WalletId, call: PortalRead, page: PageDep) -> Response:
        """By hand and by rule, oldest first."""

        async def work(uow: BillingUnitOfWork) -> Slice[TopUpBody]:
            found = await WalletQueries(uow).list_top_ups(wallet_id, page, customer_id=call.customer)
            return found.map(TopUpBody.from_domain)

        return await call.page(work)

    return router


def _check_amounts(wallet: Wallet, amount: Decimal, price: Money | None, at: str) -> None:
    """Raises: WalletSettingsInvalid."""
    if wallet.is_money:
        _fits(lambda: check_fineness(amount, wallet.currency), "/amount")
    if price is not None and price.currency != wallet.currency:
        raise WalletSettingsInvalid(
            f"the wallet is in {wallet.currency}", pointer=f"{at}/currency", remedy="Use its currency."
        )


def _fits(check: Callable[[], None], at: str) -> None:
    try:
        check()
    except ValueError as error:
        raise WalletSettingsInvalid(
            str(error), pointer=at or None, remedy="Change what does not fit."
        ) from None
