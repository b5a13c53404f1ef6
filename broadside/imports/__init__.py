"""Subscribers from and to files: CSV and NDJSON, streamed in constant memory."""
