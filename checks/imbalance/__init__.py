"""Area: imbalance."""
