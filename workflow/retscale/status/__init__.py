"""What the jobs of a study are doing, from files and Slurm's queue alone."""
