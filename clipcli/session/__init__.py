"""Turn images and texts into unit vectors: decoding, batching, the cache and the model."""
