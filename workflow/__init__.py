"""Sizes of the book and their jobs, executed pages, the README's table, the PDF.

What is stale and what runs where, ``workflow/Snakefile`` says.
"""
