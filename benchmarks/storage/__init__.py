"""Parts of the storage benchmark."""
