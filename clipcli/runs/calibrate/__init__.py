"""`clipcli calibrate`: labelled images in, thresholds out."""

from clipcli.runs.calibrate.rows import CalibratedRow as CalibratedRow
from clipcli.runs.calibrate.run import plan as plan
