"""Side-by-side measurements (`make bench`); claims are ratios of one run."""
