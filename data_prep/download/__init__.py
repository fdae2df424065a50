"""Original files fetched: resumed where torn, checked, shown and agreed to first."""
