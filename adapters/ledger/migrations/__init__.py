"""The migrations of the ledger's schema.

- `env` - Alembic's entry point
- `versions` - one module per revision
"""
