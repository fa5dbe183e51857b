"""Attacks: what an adversary may do (`budgets`), wants (`goals`), and how it searches, one file a way."""
