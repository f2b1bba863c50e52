"""Data sets: where their files come from, what is in them, and what there is to say about them."""
