"""Area: generalisation."""
