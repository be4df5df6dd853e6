"""One run of `classify`: what was asked, checked as a whole, and then image by image."""

from clipcli.classification.job import Classification as Classification
from clipcli.classification.planning import plan as plan
