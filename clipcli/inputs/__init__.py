"""Turn arguments, lists, tables and label files into references to images and texts."""
