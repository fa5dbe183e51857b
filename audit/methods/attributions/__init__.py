"""Attributions: how much did each part of the input speak for the answer? One file a way to ask.

Pure functions of a score, samples and the classes that are explained: `integrated_gradients(score, x,
target, base)` takes any `(points [n, ...], classes [n]) → scores [n]`; `of_class(model)` makes one of a
classifier. What is taken away is replaced by a baseline, or by rows that stand for what is absent.

captum does Integrated Gradients and Grad-CAM, lime fits LIME's surrogates. The forward passes that LIME
and SHAP need are ours, batched over samples: the libraries' loops over single samples cost 3–95 times as
much (`benchmarks/`). Tests hold both equal to the libraries' answers.
"""
