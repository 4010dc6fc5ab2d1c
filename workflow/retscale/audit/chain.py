"""Whether the records of a walk make a chain: each is the one that was read, fits its stage, and vouches for its files.

Records are judged from the figures back. What one says counts only while it is not to blame itself, and is compared with
what others say of the same: so a record that was put in another's place is told from files that were changed.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from retscale.audit.place import Names, is_inside, plain
from retscale.audit.rules import ANY, RULES, SOME, From
from retscale.audit.walk import Node, Read, Walk
from retscale.provenance import record
from retscale.stages import STAGES


def judge(walked: Walk) -> None:
    """Blame the records and files of the walk that break the chain; every file is hashed."""
    for node in walked.nodes.values():
        node.believed = not _blame(node, _of_place(node), walked)
        _blame(node, _of_outputs(node), walked)
    for node in walked.nodes.values():
        _compare_with_readers(node, walked)
    for node in walked.nodes.values():
        _blame(node, _of_inputs(node, walked), walked)
    _judge_files(walked)


def _blame(node: Node, messages: Iterator[str], walked: Walk) -> bool:
    """Blame the record for each message, and for a spec that its stage cannot have; whether there was any."""
    problems = []
    try:
        problems.extend(messages)
    except (LookupError, TypeError, ValueError, AttributeError) as error:  # every spec has the keys that are asked for
        problems.append(f"holds a spec that is none of a job of {node.stage} ({type(error).__name__}: {error})")
    for message in problems:
        walked.findings.blame(node.path, message)
    return bool(problems)


# --- a record and those that read its outputs


def _compare_with_readers(node: Node, walked: Walk) -> None:
    """Blame the record if none of its readers means it, else those readers that mean another."""
    readers = [reader for reader in walked.consumers.get(node.path, []) if reader.believed]
    mean_it = [reader for reader in readers if _means(reader, node)]
    others = [reader for reader in readers if not _means(reader, node)]
    if others and not mean_it:
        node.believed = False
        more = f" and {len(others) - 1} more were" if len(others) > 1 else " was"
        walked.findings.blame(node.path, f"is not the record that {others[0].path}{more} made from")
    elif others:
        for reader in others:
            reader.believed = False
            walked.findings.blame(
                reader.path, f"means another {node.path} than is there, which {mean_it[0].path} was made from"
            )


def _means(reader: Node, node: Node) -> bool:
    """Whether it was this record that was read. An older reader names no digests, so those of the files are compared."""
    rows = reader.by_source[node.path]
    if reader.older:
        return all(node.outputs.get(row.path, row.sha256) == row.sha256 for row in rows)
    return {row.digest for row in rows} == {node.digest}


# --- a record by itself


def _of_place(node: Node) -> Iterator[str]:
    """What its stage, its spec and its place say against each other; then nothing that it says counts."""
    if record.spec_sha256(node.spec) != node.content["spec_sha256"]:
        yield "holds a spec that was edited after the job ran"
    if node.stage not in STAGES:
        yield f"is of a stage {node.stage!r}, which retscale does not have"
    elif node.place is None:
        yield f"is of the stage {node.stage}, whose outputs lie elsewhere"
    else:
        names = node.place.names
        for name, key in RULES[node.stage].spec.items():
            if name in names and (said := _said(node.spec, key)) != names[name]:
                yield f"lies where that of the {name} {names[name]} belongs, but its spec is of {said}"


def _said(spec: dict, key: str) -> str | None:
    """What a spec says of one part of the place; ids that are keys, joined. One of the own length names none."""
    value = spec if key != "length" else {"length": None} | spec
    for part in key.split("."):
        value = value[part]
    return ", ".join(value) if isinstance(value, dict) else value if value is None else str(value)


def _of_outputs(node: Node) -> Iterator[str]:
    """What is wrong with the list of its outputs."""
    if node.place is None:
        return
    listed = Counter(row["path"] for row in node.content["outputs"])
    for path, count in listed.items():
        if not is_inside(path):
            yield f"lists the output {path}, which is not in its folder"
        if count > 1:
            yield f"lists the output {path} more than once"
    for path in [node.primary.name, *(form.format(**node.place.names) for form in RULES[node.stage].outputs)]:
        if path not in listed:
            yield f"does not list the output {path}, which every job of {node.stage} makes"


def _of_inputs(node: Node, walked: Walk) -> Iterator[str]:
    """What is wrong with the list of its inputs."""
    if node.place is None:
        return
    rule, by_flag, names = RULES[node.stage].inputs, {}, node.place.names
    for row in node.inputs:
        by_flag.setdefault(row.name, []).append(row)
    for flag in by_flag.keys() - rule.keys() - {"outside"}:
        yield f"lists an input by the flag {flag!r}, which the stage {node.stage} does not have"
    for flag, expected in rule.items():
        yield from _of_flag(node, names, flag, expected, by_flag.get(flag, []), walked)
    for row in by_flag.get("outside", []):
        if row.record:
            yield f"names a record for {row.path}, which comes from outside"


def _of_flag(node: Node, names: Names, flag: str, expected: From, rows: list[Read], walked: Walk) -> Iterator[str]:
    """Its inputs are made by the right stage, for the right checkpoint, task, ..., and as many as there must be."""
    sources, loose = {row.record for row in rows if row.record}, 0
    for row in rows:
        if row.record and row.absolute:
            yield f"names its input {row.path} by an absolute path, though a job made it"
        elif row.record and not row.digest and not node.older:
            yield f"names no digest of the record of its input {row.path}"
        elif not row.record and (not expected.stages or flag in STAGES[node.stage].outside):
            loose += 1
        elif not row.record and flag != "card":  # whose model may lie outside of the study: documents.py
            yield f"names no record for its input {row.path}, which a job of {' or '.join(expected.stages)} makes"
    makers = [
        maker for source in sources if source not in walked.findings.problems and (maker := walked.nodes.get(source))
    ]
    for maker in makers:
        yield from _of_maker(node, names, flag, expected, maker)
    if len(makers) < len(sources):
        return  # the record of one is to blame, whoever that is of
    wanted = expected.count(node.spec, names)
    count = len(makers) + loose
    if isinstance(wanted, int):
        if count != wanted:
            yield f"lists {count or 'no'} {flag}, of which such a job of {node.stage} reads {wanted or 'none'}"
    elif wanted == SOME:
        if not count:
            yield f"lists no {flag}, of which a job of {node.stage} reads one or more"
    elif wanted != ANY:
        ids = {maker.place.names.get(expected.by) for maker in makers if maker.place}
        for missing in sorted(set(wanted) - ids):
            yield f"lists no {flag} of {missing}, which its spec names"
        for extra in sorted(filter(None, ids - set(wanted))):
            yield f"lists {flag} of {extra}, which its spec does not name"


def _of_maker(node: Node, names: Names, flag: str, expected: From, maker: Node) -> Iterator[str]:
    """One job behind an input: its stage and place, and of its outputs all that a job of this stage reads."""
    kind, rows = STAGES[node.stage], node.by_source[maker.path]
    if maker.stage not in expected.stages:
        yield f"has for its {flag} an output of the stage {maker.stage}, {maker.primary}"
        return
    if maker.place and node.place:
        if maker.place.root != node.place.root and flag not in kind.outside:
            yield f"has for its {flag} {maker.primary}, which is of another study"
        own = names | {part: _said(node.spec, key) for part, key in expected.named.items()}
        for part in sorted(own.keys() & maker.place.names.keys() - {expected.by}):
            if own[part] != maker.place.names[part]:
                yield f"has for its {flag} {maker.primary}, which is of another {part}"
    listed = {row.path: row.sha256 for row in rows if row.name == flag}
    folder = maker.path.parent
    skipped = {plain(folder / name) for name in kind.skips.get(flag, ())}
    read = {plain(folder / name) for name in kind.reads.get(flag, ())} or maker.outputs.keys() - skipped
    for path in sorted(listed.keys() - maker.outputs.keys()):
        yield f"names {path} as an output of {maker.path}, which does not list it"
    for path in sorted((read & maker.outputs.keys()) - listed.keys()):
        yield f"does not list {path}, which a job of {node.stage} reads"
    if _means(node, maker):
        for path in sorted(listed.keys() & maker.outputs.keys()):
            if listed[path] != maker.outputs[path]:
                yield f"has another sha256 of {path} than {maker.path}, which it names for it"


# --- files


def _judge_files(walked: Walk) -> None:
    """Hash every file that a record lists, and blame it unless it is what the records say that are not to blame."""
    said: dict[Path, dict[str, list[Node]]] = {}
    elsewhere = set()
    for node in walked.nodes.values():
        elsewhere |= {row.path for row in node.inputs if row.absolute and not row.record}
        for path, digest in (*node.outputs.items(), *((row.path, row.sha256) for row in node.inputs)):
            said.setdefault(path, {}).setdefault(digest, []).append(node)
    for path, by_digest in said.items():
        if path in elsewhere and path not in walked.makers and not os.path.lexists(path):
            walked.findings.doubt(f"{path}, which lies outside of the study, is not on this machine")
        elif any(node.believed for nodes in by_digest.values() for node in nodes) and (actual := walked.sha256(path)):
            _judge_file(path, actual, by_digest, walked)


def _judge_file(path: Path, actual: str, by_digest: dict[str, list[Node]], walked: Walk) -> None:
    maker = walked.makers.get(path)
    if maker and not maker.believed and maker.outputs[path] == actual:
        return  # it came with its record, which is not the one that was read
    believed = {
        digest: nodes for digest, each in by_digest.items() if (nodes := [node for node in each if node.believed])
    }
    others = [node for digest, nodes in believed.items() if digest != actual for node in nodes]
    if not others:
        return
    if actual in believed:
        for node in others:
            walked.findings.blame(
                node.path, f"has another sha256 of {path} than that file and {believed[actual][0].path}"
            )
        return
    says = "its record lists" if maker in others else f"{others[0].path} was made from"
    walked.findings.blame(path, f"is not the file that {says}")
