"""Boxes: windows where there is no detection model, a detection model's own, and which of them stay."""

from clipcli.tasks.detect.answers import Answers as Answers
from clipcli.tasks.detect.answers import best_label_each as best_label_each
from clipcli.tasks.detect.answers import corners as corners
from clipcli.tasks.detect.answers import every_label as every_label
from clipcli.tasks.detect.answers import whole_pixels as whole_pixels
from clipcli.tasks.detect.evidence import boxes_of_windows as boxes_of_windows
from clipcli.tasks.detect.windows import overlaps as overlaps
from clipcli.tasks.detect.windows import propose_windows as propose_windows
from clipcli.tasks.detect.windows import suppress as suppress
