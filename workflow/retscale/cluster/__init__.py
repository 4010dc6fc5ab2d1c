"""A cluster: what its site file says, what a job gets there, and how it gets there."""
