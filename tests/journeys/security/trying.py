"""Asking for things of others, and looking whether anything of them shows in the answer."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import httpx

from tests.journeys.security.routes import Operation
from tests.journeys.security.story import ID, Asked, Story, send

REFUSED = (404, 422)


def names_in(story: Story, answer: httpx.Response) -> set[str]:
    """Ids and names of the story that stand in an answer, without those that the request itself said."""
    request = answer.request
    said = f"{request.url}{request.content.decode('utf-8', 'replace')}"
    told = {match.group() for match in ID.finditer(answer.text)} & story.all_ids
    if story.name in answer.text.lower() and story.name not in said.lower():
        told.add(story.name)
    return {id for id in told if id not in said}


def mixtures(mine: dict[str, str], foreign: dict[str, str]) -> Iterator[dict[str, str]]:
    """Every way to fill the parameters of which at least one is foreign."""
    named = [name for name in mine if mine[name] != foreign[name]]
    for chosen in itertools.product((False, True), repeat=len(named)):
        if any(chosen):
            taken = {name for name, is_foreign in zip(named, chosen, strict=True) if is_foreign}
            yield {name: (foreign if name in taken else mine)[name] for name in mine}


async def ask_for(
    client: httpx.AsyncClient, operation: Operation, asked: Asked | None, values: Mapping[str, str]
) -> httpx.Response:
    """As the story asked for it, of something else."""
    if asked is not None:
        return await send(client, asked, values=values)
    assert not operation.writes, f"the story does not tell how to ask for {operation}"
    return await client.get(operation.address(values))


def assert_empty(operation: Operation, query: Mapping[str, str], answer: httpx.Response) -> None:
    """Refused, or nothing is there; usage of a subject is told, and is none."""
    if answer.status_code in REFUSED:
        return
    assert answer.status_code == 200, f"{operation} {query}: {answer.text}"
    kind = answer.headers["content-type"]
    if kind.startswith("text/csv"):
        assert len(answer.text.splitlines()) == 1, (
            f"{operation} {query}: {answer.text}"
        )  # the names of the columns
        return
    if kind.startswith("image/svg+xml"):
        return  # whoever calls looks for names in it
    for row in answer.json()["data"]:
        assert (row.get("quantity"), row.get("event_count")) == ("0", 0), (
            f"{operation} {query}: {answer.text}"
        )
