"""`retscale clean`: what lies among the results of studies and is of none of them."""
