"""Exact search over unit vectors: a scan in blocks, relevance cut-offs, retrieval figures."""
