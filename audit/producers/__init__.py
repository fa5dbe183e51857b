"""Methods asked of a subject's samples: evidence, kept by the store.

What a method takes as tensors is read off the subject here: the classification that its task makes of its
answers, the budget that an eps means for its kind of inputs, the random numbers of its samples.
"""
