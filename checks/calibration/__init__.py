"""Area: calibration."""
