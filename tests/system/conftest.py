"""The canaries: a few in every run, all of them with the sweep."""

from tests.sweep.conftest import pytest_collection_modifyitems, pytest_configure

__all__ = ["pytest_collection_modifyitems", "pytest_configure"]
