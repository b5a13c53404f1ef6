"""One file per stage of a push's life. In flow order: walker, batcher, consumer, transport, settler, reporter."""
