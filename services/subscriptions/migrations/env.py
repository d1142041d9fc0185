"""Alembic's environment of the subscriptions service."""

from libs.common.persistence.migrate import run_environment
from services.subscriptions.adapters.rows import metadata

run_environment(metadata)
