"""Area: performance."""
