"""hmer turns pictures of mathematics into LaTeX, and learns from every correction."""

__version__ = "0.1.0"
