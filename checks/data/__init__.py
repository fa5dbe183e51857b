"""Area: data."""
