"""Labels, templates, and the texts made from them."""

from clipcli.inputs.text_files import Fault as Fault
from clipcli.prompts.labels import Label as Label
from clipcli.prompts.labels import LabelGroup as LabelGroup
from clipcli.prompts.labels import check_labels as check_labels
from clipcli.prompts.labels import labels_of as labels_of
from clipcli.prompts.labels import parse_groups as parse_groups
from clipcli.prompts.labels import parse_labels as parse_labels
from clipcli.prompts.labels import spoken as spoken
from clipcli.prompts.sets import DEFAULT_SET as DEFAULT_SET
from clipcli.prompts.sets import PromptSet as PromptSet
from clipcli.prompts.sets import check_file as check_file
from clipcli.prompts.sets import expand as expand
from clipcli.prompts.sets import load_prompts as load_prompts
from clipcli.prompts.sets import require_prompts as require_prompts
from clipcli.prompts.sets import shipped_sets as shipped_sets
from clipcli.prompts.sets import without_prompts as without_prompts
