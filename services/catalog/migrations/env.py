"""Alembic's way into the catalog's tables."""

from libs.common.persistence.migrate import run_environment
from services.catalog.adapters.rows import metadata

run_environment(metadata)
