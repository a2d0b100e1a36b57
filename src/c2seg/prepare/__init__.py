"""From satellite products to a city folder: one grid, co-registration, composites, files with their provenance."""
