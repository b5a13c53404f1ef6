"""Reads the pieces of a file, here or in processes of their own, into bodies of requests."""
