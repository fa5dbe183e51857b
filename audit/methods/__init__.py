"""Attacks, certificates, attributions and remedies: how it is done, and no judgement."""
