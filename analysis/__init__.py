"""What the book's pages compute from records and models: imported by notebooks."""

FEWEST = 10
"""Samples below which an interval says little: not judged, and drawn hollow."""
