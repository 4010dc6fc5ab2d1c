"""A study as a research object: its records, figures and tables in the formats that others read."""
