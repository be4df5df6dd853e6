from clipcli.api import classify as classify
from clipcli.api import dedupe as dedupe
from clipcli.api import embed as embed
from clipcli.api import open_session as open_session
from clipcli.api import rank as rank
from clipcli.api.clip_session import ClipSession as ClipSession
from clipcli.api.results import Classification as Classification
from clipcli.api.results import DuplicateImage as DuplicateImage
from clipcli.api.results import Embedding as Embedding
from clipcli.api.results import Embeddings as Embeddings
from clipcli.api.results import RankedImage as RankedImage
from clipcli.api.results import Results as Results
from clipcli.errors import ClipcliError as ClipcliError

__version__: str
