"""An invoice that is due again after it was paid, or void: what its subscription makes of the news, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import pytest

from libs.common.contracts.billing import InvoicePaidV1, InvoiceReopenedV1, InvoiceVoidedV1, PaymentFailedV1
from tests.integration.subscriptions.story import Story

Told = PaymentFailedV1 | InvoicePaidV1 | InvoiceReopenedV1 | InvoiceVoidedV1

ENDS = {
    ("failed", "paid"): "active",
    ("failed", "paid", "reopened"): "past_due",
    ("failed", "paid", "reopened", "paid_again"): "active",
    ("failed", "voided"): "active",
}


def told(story: Story, subscription_id: str, what: str) -> Told:
    paid = story.paid(subscription_id, "inv_1")
    again = paid.invoice.model_copy(update={"reopened_count": 1})
    about = {"tenant": paid.tenant, "occurred_at": paid.occurred_at}
    news: dict[str, Told] = {
        "failed": story.failed(subscription_id, "inv_1"),
        "paid": paid,
        "reopened": InvoiceReopenedV1(
            **about, invoice=again, payment_id="pmt_1", due_minor=1000, reason="dispute"
        ),
        "paid_again": InvoicePaidV1(**about, invoice=again),
        "voided": InvoiceVoidedV1(**about, invoice=paid.invoice, reason="wrong"),
    }
    return news[what]


@pytest.mark.parametrize(("news", "status"), ENDS.items(), ids=lambda value: str(value))
async def test_order_and_repeats_do_not_matter(story: Story, news: Sequence[str], status: str) -> None:
    async with story.client() as client:
        for order in permutations(news):
            made = await story.subscription(client)
            await story.hear(*[told(story, made["id"], what) for what in (*order, order[0])])
            shown = (await client.get(f"/v1/subscriptions/{made['id']}")).json()
            assert shown["status"] == status, order
