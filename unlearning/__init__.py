"""Make an image generator forget, and keep the evidence that it has.

This package computes and knows nothing of orchestration; `pipelines/` says when and where.
"""

__version__ = "0.1.0"
