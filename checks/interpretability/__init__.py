"""Area: interpretability."""
