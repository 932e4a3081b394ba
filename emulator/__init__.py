"""Azure Batch on this machine: the data-plane REST API, with nodes that really run what tasks say.

It imports nothing of the pipeline beside it: the two meet at a URL. What is supported: `docs/emulator.md`.
"""
