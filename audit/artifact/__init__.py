"""A model file → an `nn.Module`, safely.

Without `--trust` nothing in the file runs: a child process with limits (`reader`) walks the file's
pickle with a machine that calls nothing (`pickles`), and hands back plain tensors as safetensors
and a description as JSON. The parent never unpickles.
"""
