"""Area: deployment."""
