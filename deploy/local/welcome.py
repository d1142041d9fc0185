"""What a newcomer may try first, as lines for a shell."""

from __future__ import annotations


def what_to_try(base: str, *, set_token: str) -> str:
    """`set_token` is the line that puts a tenant's token into TOKEN."""
    return f"""\
Try:

  {set_token}

  curl -s -H "Authorization: Bearer $TOKEN" {base}/v1/products

  curl -s -H "Authorization: Bearer $TOKEN" -H "Idempotency-Key: first-customer" -H "Content-Type: application/json" \\
    -d '{{"name": "Ada Airways", "external_id": "ada"}}' {base}/v1/customers

  curl -s -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/cloudevents+json" \\
    -d '{{"specversion": "1.0", "id": "1", "source": "curl", "type": "wash", "subject": "machine-1", "data": {{}}}}' \\
    {base}/v1/usage-events
"""
