"""The folder of a data set in the unified format: whole, or not there at all."""
