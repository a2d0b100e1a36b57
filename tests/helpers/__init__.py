"""What several tests share: rasters, cities, labels and run folders made by code, sizes counted by hand."""
