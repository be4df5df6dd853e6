"""One run of `classify`: what was asked, checked as a whole, and then image by image."""

from clipcli.runs.classify.run import ClassifyRun as ClassifyRun
from clipcli.runs.classify.stored_vectors import model_of_vectors as model_of_vectors
from clipcli.runs.classify.validate import plan as plan
from clipcli.runs.classify.validate import plan_boxes as plan_boxes
from clipcli.runs.classify.validate import plan_command as plan_command
