"""Area: robustness."""
