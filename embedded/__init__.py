"""The embedded models: what they see, how they are built and trained."""
