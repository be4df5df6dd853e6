"""One run of `select`: rows of another command, and the samples that they speak of."""

from clipcli.runs.select.run import plan as plan
