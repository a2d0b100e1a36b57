"""One module for every revision of the tables."""
