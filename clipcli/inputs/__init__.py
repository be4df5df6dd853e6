"""Arguments, lists, tables and label files become references to images and texts."""
