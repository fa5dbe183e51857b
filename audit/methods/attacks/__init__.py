"""Attacks, one file a way to search.

What an adversary may do (`budgets`), what it works against (`goals`), and how it searches, one file a
way.

Pure functions of a model, samples and labels: `pgd(model, x, y, eps=8/255)` takes any callable and tensors.
"""
