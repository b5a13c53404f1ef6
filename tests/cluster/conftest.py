"""Whole rings: the long ones, with 200,000 subscribers, run by `./dev system`."""

from tests.sweep.conftest import pytest_collection_modifyitems, pytest_configure

__all__ = ["pytest_collection_modifyitems", "pytest_configure"]
