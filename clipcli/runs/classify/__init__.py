"""One run of `classify`: options are checked as a whole, then each image gets its labels.

validate.py           `plan`: options → a checked run
run.py                the run itself, and the vectors of labelled images for `calibrate` and `fit`
rows.py               the rows
expectation_check.py  expected labels, compared with the results
stored_vectors.py     files of vectors in place of images
boxes.py              `--boxes`: regions of images in place of images
predictors.py         `--head` with a predictor: scores in place of labels
learned_files.py      the files of `fit` and `calibrate`
"""

from clipcli.runs.classify.run import ClassifyRun as ClassifyRun
from clipcli.runs.classify.validate import model_of_vectors as model_of_vectors
from clipcli.runs.classify.validate import plan as plan
from clipcli.runs.classify.validate import plan_boxes as plan_boxes
from clipcli.runs.classify.validate import plan_command as plan_command
