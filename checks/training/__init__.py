"""Area: training."""
