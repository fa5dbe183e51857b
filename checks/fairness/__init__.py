"""Area: fairness."""
