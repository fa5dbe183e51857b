"""Area: privacy."""
