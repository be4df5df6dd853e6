"""Load a model by name: specs, the catalogue, records of earlier loads, and automatic bundles."""
