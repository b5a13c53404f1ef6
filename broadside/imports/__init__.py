"""Imports subscribers from files and exports them: CSV and NDJSON, streamed in constant memory."""
