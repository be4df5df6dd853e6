"""The recipe of the embedded model `tiny`: pictures and names in, an OpenCLIP model folder out."""
