"""Provenance: code digests, records beside every output, and outputs that appear whole or not at all."""
