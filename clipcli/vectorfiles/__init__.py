"""Files of vectors: npy, npz, Parquet, safetensors, JSON Lines and CSV. Each also holds the names and the model.

with create_vectors("npy", WritePlan(path, info, rows=n, dim=512)) as writer: writer.write(VectorRows(names, vectors))
file = open_vectors(path); file.fingerprint, file.names, file.matrix(); for start, vectors in file.blocks(): …
"""

from clipcli.vectorfiles.info import Failure as Failure
from clipcli.vectorfiles.info import ImageReading as ImageReading
from clipcli.vectorfiles.info import Kind as Kind
from clipcli.vectorfiles.info import Shard as Shard
from clipcli.vectorfiles.info import VectorDtype as VectorDtype
from clipcli.vectorfiles.info import VectorRows as VectorRows
from clipcli.vectorfiles.info import VectorsInfo as VectorsInfo
from clipcli.vectorfiles.vector_file import VectorFile as VectorFile
from clipcli.vectorfiles.vector_formats import STREAMS as STREAMS
from clipcli.vectorfiles.vector_formats import VECTOR_FORMATS as VECTOR_FORMATS
from clipcli.vectorfiles.vector_formats import VectorFormat as VectorFormat
from clipcli.vectorfiles.vector_formats import create_vectors as create_vectors
from clipcli.vectorfiles.vector_formats import format_of as format_of
from clipcli.vectorfiles.vector_formats import holds_vectors as holds_vectors
from clipcli.vectorfiles.vector_formats import is_vector_file as is_vector_file
from clipcli.vectorfiles.vector_formats import open_vectors as open_vectors
from clipcli.vectorfiles.writer import VectorsWriter as VectorsWriter
from clipcli.vectorfiles.writer import WritePlan as WritePlan
