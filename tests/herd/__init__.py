"""The herd governor's proof: drawn newsrooms whose site saturates, in virtual time (``python -m tests.herd``)."""
