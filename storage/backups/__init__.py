"""Backups of a running instance, and the way back."""
