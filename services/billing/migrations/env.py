"""Alembic's environment of billing."""

from libs.common.persistence.migrate import run_environment
from services.billing.adapters.rows import metadata

run_environment(metadata)
