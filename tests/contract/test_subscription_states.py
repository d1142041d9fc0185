"""The page on the states of a subscription says what the code does."""

from __future__ import annotations

from deploy.subscription_states import PAGE, page


def test_the_page_is_what_the_table_says() -> None:
    stored = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    assert stored == page(), f"docs/{PAGE.name} differs: run `make contracts`, look at the diff"
