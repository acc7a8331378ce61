"""All connections at once: overview, keep-alive, verification, keys."""
