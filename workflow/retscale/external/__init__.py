"""The stage `external`: results that others published, as points beside the study's own."""
