"""The study file: read, checked, completed from the catalog, and cut into one spec a job."""
