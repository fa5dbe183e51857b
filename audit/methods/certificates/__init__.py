"""Bounds of what a network can answer anywhere in a budget: proofs, where attacks are trials.

The network is read as steps (`network`). Interval bounds (Gowal et al. 2018, section 3) go forward
through all of them (`intervals`); then the margin between two classes is bounded backwards through
lines around the activations (`activations`, `linear`: CROWN, Zhang et al. 2018); `search` looks for the
largest budget in which the answer is proven. Ours, because auto_LiRPA, the library for it, is on the
registry in a version for another torch only. What was read off the network must answer as the network
does, or it is refused. Sums are those of single precision: rounding is not bounded.
"""
