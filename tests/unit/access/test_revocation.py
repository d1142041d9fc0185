"""The list of revoked tokens: refreshed for ever, outages waited out."""

import asyncio

from libs.common.access.revocation import RevokedTokens


async def test_the_last_good_list_stays_while_it_cannot_be_read() -> None:
    answers: list[list[str] | Exception] = [["a"], OSError("down"), OSError("down"), ["a", "b"]]
    done = asyncio.Event()

    async def load() -> list[str]:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if len(answers) == 1:
            done.set()
        if isinstance(answer, Exception):
            assert "a" in revoked, "the last list is kept"
            raise answer
        return answer

    revoked = RevokedTokens(load, every_s=0.001)
    assert not revoked.loaded
    task = asyncio.create_task(revoked.run())
    await asyncio.wait_for(done.wait(), 5)
    await asyncio.sleep(0.01)
    task.cancel()
    assert "b" in revoked
