"""Whether a generated answer is right, as the gauntlet decides it."""

import re
import string

from retscale.icl.config import IclTask

_MARKS = str.maketrans(dict.fromkeys(string.punctuation + "‘’´`", " "))
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def matches(output: str, accepted: tuple[str, ...], task: IclTask) -> bool:
    """Whether the answer in `output` begins with one of the `accepted` ones."""
    answer = extract(output, task)
    if task.normalise:
        return normalize(answer).startswith(tuple(normalize(text) for text in accepted))
    return answer.startswith(accepted)


def extract(output: str, task: IclTask) -> str:
    """What stands before the first of `stop` and there after the last `cot_delimiter`, blanks included."""
    answer = output[: min((at for stop in task.stop if (at := output.find(stop)) >= 0), default=len(output))]
    return answer.split(task.cot_delimiter)[-1] if task.cot_delimiter else answer


def normalize(text: str) -> str:
    """Lower case without punctuation, articles and double blanks, as TriviaQA's own evaluation (Joshi et al. 2017)."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_MARKS)).split())
