"""One file per role of a push's life, in flow order: walker, batcher, consumer, transport, settler, reporter, shepherd."""
