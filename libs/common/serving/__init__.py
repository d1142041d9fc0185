"""One service as processes of its own: its app behind uvicorn, its workers beside them."""
