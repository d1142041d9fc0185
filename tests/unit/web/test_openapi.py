"""The OpenAPI document and the pages around it."""

from typing import Any

import httpx
import pytest

from libs.common.web.openapi import route_accesses
from tests.unit.web.small_app import SmallApp


@pytest.fixture
def document(small: SmallApp) -> dict[str, Any]:
    return small.app.openapi()


def test_operation_ids_are_the_names_of_functions(document: dict[str, Any]) -> None:
    ids = {op["operationId"] for path in document["paths"].values() for op in path.values()}
    assert ids == {
        "list_notes",
        "get_note",
        "post_note",
        "post_signature",
        "patch_note",
        "put_draft",
        "delete_note",
        "get_audit",
    }


def test_every_operation_tells_its_scope_and_its_problems(document: dict[str, Any]) -> None:
    for path in document["paths"].values():
        for method, operation in path.items():
            assert operation["security"] == [{"bearer": []}]
            assert f"Scope: `{operation['x-scope']}`." in operation["description"]
            wanted = {"400", "401", "403", "404", "422", "429", "500", "503"}
            if method != "get":
                wanted |= {"409", "412", "413", "415"}
            assert wanted <= operation["responses"].keys()
            for status in wanted:
                assert operation["responses"][status] == {"$ref": f"#/components/responses/{status}"}


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [found for child in node.values() for found in references(child)]
        return [found for child in node for found in references(child)] if isinstance(node, list) else []

    for reference in references(document):
        here: Any = document
        for part in reference.removeprefix("#/").split("/"):
            here = here[part]


def test_names_of_schemas_are_plain(document: dict[str, Any]) -> None:
    assert document["components"]["schemas"].keys() == {
        "MoneyBody",
        "NewNoteBody",
        "NoteBody",
        "NoteChangesBody",
        "NotePage",
        "Problem",
        "ProblemError",
    }


@pytest.mark.parametrize(
    ("path", "method", "headers"),
    [
        ("/v1/notes", "get", {}),
        ("/v1/notes", "post", {"Idempotency-Key": False}),
        ("/v1/notes/{note_id}", "get", {"If-None-Match": False}),
        ("/v1/notes/{note_id}", "patch", {"If-Match": True}),
        ("/v1/notes/{note_id}", "delete", {"If-Match": True}),
        ("/v1/notes/{note_id}/draft", "put", {"If-Match": False, "If-None-Match": False}),
        ("/v1/notes/{note_id}/signature", "post", {"Idempotency-Key": True, "If-Match": False}),
    ],
)
def test_headers_are_told(document: dict[str, Any], path: str, method: str, headers: dict[str, bool]) -> None:
    told = document["paths"][path][method].get("parameters", [])
    assert {param["name"]: param["required"] for param in told if param["in"] == "header"} == headers


def test_every_route_can_be_asked_for_its_access(small: SmallApp) -> None:
    found = {(route.method, route.path): route.access for route in route_accesses(small.app)}
    assert found["GET", "/v1/notes/{note_id}"].portal
    assert found["POST", "/v1/notes/{note_id}/signature"].once == "required"
    assert found["GET", "/v1/notes-operations/audit"].scope == "operate"
    assert len(found) == 8


async def test_the_page_of_docs_loads_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    assert "http" not in page.replace("http-equiv", "")
    start = await client.get("/docs/start.js")
    assert '{"notes": "/openapi.json"}' in start.text
    assert (await client.get("/docs/assets/passwd")).status_code == 404
