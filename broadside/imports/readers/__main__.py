"""``python -m broadside.imports.readers``: a process that reads pieces of a file, as the import starts it."""

from broadside.imports.readers.serving import serve

serve()
