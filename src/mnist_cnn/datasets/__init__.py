"""Data sets: their sources, their IDX files and their descriptions."""
