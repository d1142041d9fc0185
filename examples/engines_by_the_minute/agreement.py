"""Before the first flight: what is sold, to whom, from when until when, and how they pay."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from examples.engines_by_the_minute.client import Perennial
from examples.engines_by_the_minute.story import STARTS_ON, ZONE, Story, instant_text

CUSTOMERS_AT_ONCE = 4
DECLINED_ONCE = "HA"  # its first payment fails, and is tried again a day later


@dataclass(frozen=True, slots=True)
class Airline:
    """A customer with a subscription. The first payment of one that is `declined_once` fails."""

    carrier: str
    name: str
    aircraft: int
    customer_id: str
    subscription_id: str
    declined_once: bool


async def publish_offer(perennial: Perennial, story: Story) -> None:
    """Product, meter and plan, as the catalog files say, and the legal entity that issues the invoices."""
    product, meter, plan = (story.read_body(f"{name}.json") for name in ("product", "meter", "plan"))
    await _find_or_make(perennial, "products", product)
    await _find_or_make(perennial, "meters", meter)
    made = await _find_or_make(perennial, "plans", plan)
    if made["published_number"] is None:
        await perennial.post(f"/v1/plans/{made['id']}/publications", {}, key=f"{plan['code']}-publication")
        perennial.new["plan versions"] += 1
    seller = story.read_body("seller.json")
    await perennial.find_or_make(
        "sellers", "/v1/sellers", seller, key=f"seller-{seller['code']}", where={"code": seller["code"]}
    )


async def _find_or_make(perennial: Perennial, kind: str, body: dict[str, str]) -> dict[str, str]:
    code = body["code"]
    return await perennial.find_or_make(
        kind, f"/v1/{kind}", body, key=f"{kind}-{code}", where={"code": code}, code=code
    )


async def make_test_clock(perennial: Perennial, story: Story) -> str:
    """The clock that all airlines live by. It shows the last noon before the year begins."""
    name = story.named("The year 2013")
    body = {"name": name, "starts_at": instant_text(story.clock_starts_at)}
    clock = await perennial.find_or_make(
        "test clocks", "/v1/test-clocks", body, key=f"clock-{story.named('2013')}", where={"name": name}
    )
    return str(clock["id"])


async def agree_with_airlines(
    perennial: Perennial,
    story: Story,
    *,
    names: Mapping[str, str],
    aircraft: Mapping[str, int],
    clock_id: str,
) -> list[Airline]:
    """Each airline a customer with a subscription and a payment method; by carrier."""
    unlucky = DECLINED_ONCE if DECLINED_ONCE in aircraft else min(aircraft, default="")
    at_once = asyncio.Semaphore(CUSTOMERS_AT_ONCE)

    async def agree(carrier: str) -> Airline:
        async with at_once:
            name = names.get(carrier, carrier)
            customer_id = await _add_customer(perennial, story, carrier, name)
            behaviour = "fails_once" if carrier == unlucky else "succeeds"
            await _add_payment_method(perennial, customer_id, behaviour)
            subscription_id = await _subscribe(
                perennial, story, carrier, customer_id, aircraft[carrier], clock_id
            )
            return Airline(
                carrier=carrier,
                name=name,
                aircraft=aircraft[carrier],
                customer_id=customer_id,
                subscription_id=subscription_id,
                declined_once=carrier == unlucky,
            )

    return list(await asyncio.gather(*(agree(carrier) for carrier in sorted(aircraft))))


def external_id(story: Story, carrier: str) -> str:
    """What an airline is called in the seller's own books."""
    return story.named(f"nycflights13:{carrier}")


async def _add_customer(perennial: Perennial, story: Story, carrier: str, name: str) -> str:
    known_as = external_id(story, carrier)
    body = {
        "name": name,
        "external_id": known_as,
        "country": "US",
        "currency": "USD",
        "zone": ZONE,
        "email": f"accounts@{carrier.lower()}.example",
        "locale": "en-US",
    }
    customer = await perennial.find_or_make(
        "customers", "/v1/customers", body, key=f"customer-{known_as}", where={}, external_id=known_as
    )
    return str(customer["id"])


async def _add_payment_method(perennial: Perennial, customer_id: str, behaviour: str) -> None:
    body = {"customer_id": customer_id, "gateway": "sandbox", "behaviour": behaviour}
    await perennial.find_or_make(
        "payment methods",
        "/v1/payment-methods",
        body,
        key=f"payment-method-{customer_id}",
        where={"behaviour": behaviour},
        customer_id=customer_id,
    )


async def _subscribe(
    perennial: Perennial, story: Story, carrier: str, customer_id: str, aircraft: int, clock_id: str
) -> str:
    known_as = external_id(story, carrier)
    body = {
        "customer_id": customer_id,
        "plan": story.read_body("plan.json")["code"],
        "quantities": {"aircraft": str(aircraft)},
        "starts_on": STARTS_ON.isoformat(),
        "ends_on": story.ends_on.isoformat(),
        "zone": ZONE,
        "test_clock_id": clock_id,
        "external_id": known_as,
    }
    subscription = await perennial.find_or_make(
        "subscriptions",
        "/v1/subscriptions",
        body,
        key=f"subscription-{known_as}",
        where={},
        external_id=known_as,
    )
    return str(subscription["id"])
