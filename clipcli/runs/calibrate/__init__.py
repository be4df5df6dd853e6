"""`clipcli calibrate`: find thresholds from labelled images."""

from clipcli.runs.calibrate.run import CalibratedRow as CalibratedRow
from clipcli.runs.calibrate.run import plan as plan
