"""A route is worked out when it is first asked for, and not at the start of the process."""

from __future__ import annotations

from pathlib import Path

from starlette.responses import Response

from libs.common.web.late_routes import LateRouter
from tests.unit.web.small_app import Reader, a_small_app


async def test_only_a_route_that_is_asked_for_is_worked_out(tmp_path: Path) -> None:
    router = LateRouter(prefix="/v1/late")

    @router.get("/{asked}")
    async def get_asked(asked: str, call: Reader) -> Response:
        return Response(asked)

    @router.get("/{asked}/others")
    async def list_others(asked: str, call: Reader) -> Response:
        return Response(asked)

    small = a_small_app(tmp_path, routers=[router])

    def worked_out() -> list[str]:
        return [vars(route)["name"] for route in router.routes if "dependant" in vars(route)]

    assert worked_out() == []
    async with small.client() as client:
        assert (await client.get("/v1/late/one")).text == "one"
        assert worked_out() == ["get_asked"]
        assert (await client.get("/v1/late/one/others")).text == "one"
    assert small.app.openapi()["paths"]["/v1/late/{asked}"]["get"]["operationId"] == "get_asked"
