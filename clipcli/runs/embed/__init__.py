"""`clipcli embed`: turn inputs into vectors, saved in parts on disk and joined to one file at the end."""

from clipcli.runs.embed.run import EmbedRun as EmbedRun
from clipcli.runs.embed.run import open_embedder as open_embedder
from clipcli.runs.embed.run import plan as plan
