"""Original downloads, or drawn scenes, to the unified data format."""
