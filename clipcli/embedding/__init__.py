"""`embed`: inputs to vectors, in parts on disk as they come, and into one file at the end."""

from clipcli.embedding.embedder import open_embedder as open_embedder
from clipcli.embedding.job import Embedding as Embedding
from clipcli.embedding.job import plan as plan
