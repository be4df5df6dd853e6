"""`clipcli calibrate`: labelled images in, thresholds out."""

from clipcli.calibration.job import parse_goal as parse_goal
from clipcli.calibration.job import plan as plan
from clipcli.calibration.rows import CalibratedRow as CalibratedRow
