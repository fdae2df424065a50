"""The matrix of runs, its plans, and the execution of the book's pages."""
