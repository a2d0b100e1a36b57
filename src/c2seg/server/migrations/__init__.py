"""Alembic's scripts; ``migrating`` runs them."""
