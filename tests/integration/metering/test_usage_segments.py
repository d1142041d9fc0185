"""What stands behind one line, thing by thing: an exchange in the middle of a window, and what adds up."""

from __future__ import annotations

from libs.common.ids import new_id
from tests.integration.metering.harness import READ, Metering, Story, client_of, flight, utc


async def test_the_segments_of_an_item_are_its_usage_thing_by_thing(metering: Metering, story: Story) -> None:
    """N1 is exchanged for N2 on the 14th, comes back on the 20th, and counts for nobody in between."""
    await metering.define()
    begun, exchanged, ahead = utc("2025-01-01"), utc("2025-01-14T12:00:00Z"), utc("2026-01-01")
    first = story.bound_between("N1", begun, exchanged)
    known = first.binding.model_copy(update={"asset_id": "engine-1"})
    await metering.hear(
        story.started(),
        first.model_copy(update={"binding": known}),
        story.bound_between("N2", exchanged, ahead),
        story.bound_between("N1", utc("2025-01-20"), ahead),
    )
    await metering.send(
        flight("a", "2025-01-14T11:59:59Z", 46_500, "N1"),
        flight("b", "2025-01-14T12:00:00Z", 38_500, "N2"),
        flight("c", "2025-01-15T00:00:00Z", 7, "N1"),
        flight("d", "2025-01-20T00:00:00Z", 3, "N1"),
        flight("e", "2025-02-01T00:00:00Z", 9, "N2"),
    )
    await metering.hear(story.renewed(1))
    await metering.tick()
    [window] = (await metering.get("/v1/usage-windows", state="closed"))["data"]
    path = f"/v1/usage-windows/{window['id']}/segments"
    told = (await metering.get(path, item_id=story.item_id))["data"]
    assert [(row["subject"], row["quantity"], row["event_count"], row["asset_id"]) for row in told] == [
        ("N1", "46500", 1, "engine-1"),
        ("N2", "38500", 1, None),
        ("N1", "3", 1, None),
    ]
    assert (told[0]["end"], told[1]["start"]) == ("2025-01-14T12:00:00Z",) * 2
    assert told[1]["end"] == "2025-02-01T00:00:00Z"
    [total] = window["totals"]
    assert total["quantity"] == "85003"

    page = await metering.get(path, item_id=story.item_id, limit=2)
    rest = await metering.get(path, item_id=story.item_id, limit=2, cursor=page["next_cursor"])
    assert [*page["data"], *rest["data"]] == told
    await metering.get(path, status=404, item_id=new_id("si"))
    async with client_of(metering, READ, customer=story.customer_id) as portal:
        assert (await portal.get(path, params={"item_id": story.item_id})).json()["data"] == told
    async with client_of(metering, READ, customer=new_id("cus")) as portal:
        assert (await portal.get(path, params={"item_id": story.item_id})).status_code == 404
