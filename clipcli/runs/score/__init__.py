"""One run of `score`: how well each image fits its own text."""

from clipcli.runs.score.run import ScoreRun as ScoreRun
from clipcli.runs.score.run import open_sessions as open_sessions
from clipcli.runs.score.validate import plan as plan
