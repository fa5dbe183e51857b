"""Checks: one question a file. `audit checks` lists them."""
