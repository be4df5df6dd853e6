"""Search over unit vectors: exact in blocks, approximate in cells, relevance cut-offs, retrieval figures."""
