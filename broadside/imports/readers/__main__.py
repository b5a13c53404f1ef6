"""``python -m broadside.imports.readers``: a process that reads pieces of a file, as the import starts it."""

from broadside.imports.readers.reader_processes import serve

serve()
