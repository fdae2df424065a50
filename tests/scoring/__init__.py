"""A package, so that `test_pope.py` here and in `data_prep/` are two modules."""
