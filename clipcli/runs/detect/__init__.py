"""`clipcli detect`: boxes of the labels in each image."""

from clipcli.runs.detect.rows import DetectedRow as DetectedRow
from clipcli.runs.detect.run import DetectRun as DetectRun
from clipcli.runs.detect.run import open_sink as open_sink
from clipcli.runs.detect.validate import plan as plan
from clipcli.runs.detect.validate import plan_detector as plan_detector
