"""All connections at once: overview, keep-alive, restore, key rotation."""
