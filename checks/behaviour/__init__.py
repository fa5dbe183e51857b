"""Area: behaviour."""
