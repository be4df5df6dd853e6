"""Images to vectors in input order: a feeder looks ahead, threads read and decode, full batches go to the model."""

from clipcli.pipeline.batches import Batches as Batches
from clipcli.pipeline.cuts import Cuts as Cuts
from clipcli.pipeline.elsewhere import GpuDecoder as GpuDecoder
from clipcli.pipeline.elsewhere import gpu_decoder as gpu_decoder
from clipcli.pipeline.features import Features as Features
from clipcli.pipeline.features import NoVectorError as NoVectorError
from clipcli.pipeline.features import fault_of as fault_of
from clipcli.pipeline.features import require_vectors as require_vectors
from clipcli.pipeline.features import vectors_or_faults as vectors_or_faults
from clipcli.pipeline.preparing import Preparation as Preparation
from clipcli.pipeline.running import Embedded as Embedded
from clipcli.pipeline.running import ImagePipeline as ImagePipeline
from clipcli.pipeline.texts import TEXT_BATCH as TEXT_BATCH
from clipcli.pipeline.texts import encode_texts as encode_texts
from clipcli.pipeline.timings import Timings as Timings
