"""`clipcli fit`: learn a head for `classify` from a few labelled images."""

from clipcli.runs.fit.rows import FitRow as FitRow
from clipcli.runs.fit.run import FitRun as FitRun
from clipcli.runs.fit.validate import plan as plan
