"""Attacks, attributions and predictions: tensors in and out, no judgement."""
