"""Environment variables by which a launch tells a training what to do."""

PROCESSES = "RETSCALE_PROCESSES"  # how many there are, of all nodes together
SHARDED = "RETSCALE_SHARDED"  # "true": the model is spread over all processes
# The study's `tracker`, and where its files lie. No result depends on them, so they are in no spec: a study that is
# finished gains or loses a tracker and trains nothing again.
TRACKER, TRACKER_FOLDER = "RETSCALE_TRACKER", "RETSCALE_TRACKER_FOLDER"
# Micro-batches differ in size, and freed blocks of fixed size would fit none of the later ones.
ALLOCATOR = {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}
