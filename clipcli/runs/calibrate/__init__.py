"""`clipcli calibrate`: find thresholds from labelled images."""

from clipcli.runs.calibrate.rows import CalibratedRow as CalibratedRow
from clipcli.runs.calibrate.validate import plan as plan
