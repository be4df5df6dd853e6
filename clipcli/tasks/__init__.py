"""Pure functions on vectors: no model, no file, no printing."""
