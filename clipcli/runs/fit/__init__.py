"""`clipcli fit`: a few labelled images in, a head for `classify` out."""

from clipcli.runs.fit.rows import FitRow as FitRow
from clipcli.runs.fit.run import FitRun as FitRun
from clipcli.runs.fit.run import plan as plan
