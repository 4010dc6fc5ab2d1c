"""`retscale lineage`: all that a figure or a table was made from, as a picture of one page."""
