"""`clipcli embed`: turn inputs into vectors, saved in parts on disk and joined to one file at the end.

validate.py      `plan`: options → a checked run
embed_inputs.py  images or texts → vectors, each with its position; an estimate of the work (`--dry-run`)
run.py           the run itself, its target and its summary
token_states.py  `--tokens`: the text encoder's states per token
"""

from clipcli.runs.embed.run import EmbedRun as EmbedRun
from clipcli.runs.embed.run import open_embedder as open_embedder
from clipcli.runs.embed.validate import plan as plan
from clipcli.runs.embed.validate import plan_states as plan_states
from clipcli.runs.embed.validate import refuse_state_options as refuse_state_options
