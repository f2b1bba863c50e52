"""Data sets: their descriptions, their sources, and the arrays made from them."""
