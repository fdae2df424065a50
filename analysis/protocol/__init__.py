"""What ``book/protocol.md`` asks: every map alike, and when to crop at all."""
