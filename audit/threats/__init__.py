"""Attacks as values.

How much an adversary may change (`threat`), by what (`attack`), and one attack after the other
(`cascade`). Imports no torch.
"""
