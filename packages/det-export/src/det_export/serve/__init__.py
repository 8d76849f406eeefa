"""`det serve`: models behind HTTP."""
