"""Three jobs on a machine with two GPUs, by its profile; the GPUs are a mocked nvidia-smi's and what computes is a stub."""

import os

SMI = '#!/bin/sh\necho "GPU 0: A (UUID: GPU-aa)"\necho "GPU 1: A (UUID: GPU-bb)"\n'
# Says which GPUs it sees; the first two jobs wait for each other, so that they run at once.
STUB = """#!/bin/bash
echo "start $CUDA_VISIBLE_DEVICES" >> "$EVENTS"
until [ "$(grep -c start "$EVENTS")" -ge 2 ]; do sleep 0.02; done
while [ "$1" != --out ]; do shift; done
shift
mkdir -p "$(dirname "$1")"; touch "$@"
echo "end $CUDA_VISIBLE_DEVICES" >> "$EVENTS"
"""


def test_no_gpu_is_used_by_two_jobs_at_once_and_each_job_sees_one(clone, tmp_path):
    programs, events = tmp_path / "bin", tmp_path / "events"
    programs.mkdir(), events.touch()
    for name, text in {"nvidia-smi": SMI, "retscale": STUB}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    clone.environment |= {
        "PATH": f"{programs}{os.pathsep}{clone.environment['PATH']}", "EVENTS": str(events), "TMPDIR": str(tmp_path)
    }  # fmt: skip
    clone.environment.pop("CUDA_VISIBLE_DEVICES", None)
    clone.edit("profiles/workstation/site.yaml", "stages: {}", "stages: {icl: {all: {memory_gb: 0.1, cores: 1}}}")
    checkpoints = ("d16", "d24", "d24-long")
    for checkpoint in checkpoints:
        card = clone.folder / "results/smoke/checkpoint" / checkpoint / "card.json"
        card.parent.mkdir(parents=True)
        card.touch()
    targets = [f"results/smoke/icl/{checkpoint}/shuffle.json" for checkpoint in checkpoints]
    done = clone.run(
        "snakemake", *targets, "--allowed-rules", "icl", "--cores", "3", "--profile", "profiles/workstation",
        "--configfile", "config/smoke.yaml",
    )  # fmt: skip
    running: list[str] = []
    for event, gpu in map(str.split, events.read_text().splitlines()):
        assert gpu in ("GPU-aa", "GPU-bb")
        if event == "start":
            assert gpu not in running
            running.append(gpu)
        else:
            running.remove(gpu)
    assert events.read_text().count("start") == 3 and not running
    assert 'Resource("gpu", 2)' in (done.stdout + done.stderr).partition("Provided resources:")[2].splitlines()[0]
