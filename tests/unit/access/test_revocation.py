"""The list of revoked tokens: refreshed for ever, outages waited out."""

import asyncio
from datetime import UTC, datetime

import pytest

from libs.common.access.caller import OPERATORS, Caller
from libs.common.access.revocation import RevokedTokens, revocation_key

TENANT, OTHER = "0190f0a0-0000-7000-8000-000000000001", "0190f0a0-0000-7000-8000-000000000002"


def a_caller(token_id: str, tenant: str | None = TENANT) -> Caller:
    return Caller(tenant, frozenset({"operate"}), None, token_id, datetime(2030, 1, 1, tzinfo=UTC))


async def test_the_last_good_list_stays_while_it_cannot_be_read() -> None:
    answers: list[list[str] | Exception] = [["a"], OSError("down"), OSError("down"), ["a", "b"]]
    done = asyncio.Event()

    async def load() -> list[str]:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if len(answers) == 1:
            done.set()
        if isinstance(answer, Exception):
            assert a_caller("a") in revoked, "the last list is kept"
            raise answer
        return answer

    revoked = RevokedTokens(load, every_s=0.001)
    assert not revoked.loaded
    task = asyncio.create_task(revoked.run())
    await asyncio.wait_for(done.wait(), 5)
    await asyncio.sleep(0.01)
    task.cancel()
    assert a_caller("b") in revoked


@pytest.mark.parametrize(
    ("revoker", "tenant", "is_refused"),
    [
        (TENANT, TENANT, True),
        (OTHER, TENANT, False),
        (TENANT, None, False),  # an operator's token is no tenant's to refuse
        (OPERATORS, TENANT, True),
        (OPERATORS, OTHER, True),
        (OPERATORS, None, True),
    ],
)
async def test_a_tenant_refuses_its_own_tokens_and_operators_anybodys(
    revoker: str, tenant: str | None, is_refused: bool
) -> None:
    async def load() -> list[str]:
        return [revocation_key(revoker, "tok_1")]

    revoked = RevokedTokens(load)
    await revoked.refresh()
    assert (a_caller("tok_1", tenant) in revoked) is is_refused
    assert a_caller("tok_2", tenant) not in revoked
