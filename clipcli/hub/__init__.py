"""Download model files from the hub once, into huggingface_hub's cache; check their hashes; find them offline.

local_files.py   the files that are on this disk already
client.py        downloads: `Hub`
"""
