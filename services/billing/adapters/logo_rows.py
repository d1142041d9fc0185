"""The table of sellers' logos: kept by the hash of their content, written once, never removed."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, LargeBinary, Table, Text

from libs.common.persistence.base import id_column, instant, tenant_column
from services.billing.adapters.rows import metadata

seller_logo = Table(
    "seller_logo",
    metadata,
    tenant_column(),
    id_column(),
    Column("media_type", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
    instant("created_at"),
    CheckConstraint("media_type IN ('image/png', 'image/svg+xml')", name="is_picture"),
    CheckConstraint("octet_length(content) BETWEEN 1 AND 262144", name="small"),
)
