"""`clipcli fit`: learn a head for `classify` from a few labelled images."""

from clipcli.runs.fit.run import FitRow as FitRow
from clipcli.runs.fit.run import FitRun as FitRun
from clipcli.runs.fit.run import plan as plan
