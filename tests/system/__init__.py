"""Whole nodes against faults, counted in the twins' ledgers: ``./dev system`` (docs/reliability.md)."""
