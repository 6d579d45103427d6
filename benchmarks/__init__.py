"""Comparisons that anyone can repeat: one module each, run with ``python -m``."""
