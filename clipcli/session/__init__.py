"""Images and texts become unit vectors: decoding, batching, the cache and the model."""
