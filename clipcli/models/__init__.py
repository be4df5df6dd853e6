"""A model's name becomes a loaded model: specs, the catalogue, records of earlier loads, bundles made automatically."""
