"""The original files of a data set: found by name, and read row by row."""
