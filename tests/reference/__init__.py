"""Reference pages that are made from the code: docs/cli.md, docs/metrics.md, docs/verbs.md (``./dev reference``)."""
