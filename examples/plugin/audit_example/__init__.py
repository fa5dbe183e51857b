"""A check, a task and an input kind from outside, one file each."""
