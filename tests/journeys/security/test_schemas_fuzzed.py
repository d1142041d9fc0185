"""Requests made up from each OpenAPI document: whatever they are, the answer is documented, and no error of ours.

The same requests each time. They go over HTTP, as a program that knows nothing but the document would send them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import APIOperation, Case, GenerationMode

from libs.common.contracts import SERVICES
from libs.common.web import calls
from tests.journeys.security.routes import FILES, SIGNED, Operation
from tests.journeys.security.world import World

Examples = Mapping[GenerationMode, int]

FEW: Examples = {GenerationMode.POSITIVE: 1, GenerationMode.NEGATIVE: 1}
MANY: Examples = {GenerationMode.POSITIVE: 6, GenerationMode.NEGATIVE: 3}


class Fuzzer:
    """Sends made-up requests: good ones about things of beta's, and bad ones about nothing that there is."""

    def __init__(self, world: World, service: str, examples: Examples) -> None:
        self._world, self._examples = world, examples
        self._operations = {(o.method, o.path): o for o in world.operations if o.service == service}
        tokens = {
            False: world.everything.token(world.beta.tenant),
            True: world.everything.token(None),
        }
        self._headers = {who: {"authorization": f"Bearer {token}"} for who, token in tokens.items()}
        self._session = requests.Session()
        self.sent_count = 0

    def run(self, document: Mapping[str, object]) -> None:
        """Blocks: the services run on another thread's loop."""
        schema = schemathesis.openapi.from_dict(dict(document))
        for found in schema.get_all_operations():
            told: APIOperation = found.ok()
            if told.path.startswith(SIGNED):
                continue  # what no gateway has signed is refused before it is read
            operation = self._operations.pop((told.method.upper(), told.path))
            if operation.path in FILES:
                continue
            if "-operations/" in operation.path and operation.service != SERVICES[0]:
                continue  # the same routes in every service
            mine = self._world.things_at(operation, self._world.beta)[0]
            self._fuzz(told, operation, GenerationMode.POSITIVE, mine)
            self._fuzz(told, operation, GenerationMode.NEGATIVE, {})
        assert not self._operations, "not in the document"

    def _fuzz(
        self, told: APIOperation, operation: Operation, mode: GenerationMode, path: Mapping[str, str]
    ) -> None:
        fixed = {"path_parameters": dict(path)} if path else {}

        @seed(20130101)
        @settings(
            max_examples=self._examples[mode],
            phases=[Phase.generate],
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=told.as_strategy(generation_mode=mode, **fixed))
        def answered(case: Case) -> None:
            answer = case.call(
                base_url=self._world.everything.base_url,
                headers=self._headers[operation.for_operators],
                session=self._session,
                timeout=30,
            )
            self.sent_count += 1
            assert answer.status_code < 500, f"{case.as_curl_command()}: {answer.text[:1000]}"
            documented = operation.told["responses"]
            assert str(answer.status_code) in documented, f"{case.as_curl_command()}: {answer.text[:1000]}"
            if answer.status_code >= 400:
                problem = answer.json()
                assert problem["code"], answer.text[:1000]
                assert problem["detail"], answer.text[:1000]

        answered()


@pytest.mark.parametrize(
    "examples", [pytest.param(FEW, id="few"), pytest.param(MANY, id="many", marks=pytest.mark.long)]
)
@pytest.mark.parametrize("service", SERVICES)
async def test_no_made_up_request_leads_to_an_error_of_ours(
    world: World, service: str, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "AWAIT_S", 0.0)  # no news will come of what was made up
    fuzzer = Fuzzer(world, service, examples)
    document = world.everything.services[service].app.openapi()
    await asyncio.to_thread(fuzzer.run, document)
    assert fuzzer.sent_count > 30
