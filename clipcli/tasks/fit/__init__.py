"""Few-shot heads: what `clipcli fit` learns from a few labelled vectors."""

from clipcli.tasks.fit.heads import Examples as Examples
from clipcli.tasks.fit.heads import FewShotHead as FewShotHead
from clipcli.tasks.fit.heads import HeadClassifier as HeadClassifier
from clipcli.tasks.fit.heads import Novelty as Novelty
from clipcli.tasks.fit.methods import METHODS as METHODS
from clipcli.tasks.fit.methods import Comparison as Comparison
from clipcli.tasks.fit.methods import Fit as Fit
from clipcli.tasks.fit.methods import compare as compare
from clipcli.tasks.fit.methods import fit_head as fit_head
from clipcli.tasks.fit.methods import share as share
