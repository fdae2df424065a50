"""What the book's pages compute from records and models: imported by notebooks."""
