"""The events' store: what came in, once, durable, and read back as raw tables."""
