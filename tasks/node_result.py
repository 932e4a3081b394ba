"""The result that the node task writes: read with suspicion, as a node runs what a file makes of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from tasks.errors import RunFailed
from tasks.plan import FORMAT, InputFile, Plan

WordCounts = list[tuple[str, Annotated[int, Field(ge=1)]]]

LINE = "-" * 30


class NodeTable(BaseModel):
    """The table of all words, uploaded as KEY.table.gz."""

    sha256: str


class NodeResult(BaseModel):
    """The JSON that the node task writes; whatever else it says is not read here."""

    format: int
    key: str
    num_words: int
    words: WordCounts
    listed: WordCounts  # at least `words`, and more for the merge over all files
    first_left_out: Annotated[int, Field(ge=0)]
    total_words: int
    distinct_words: int
    overlong_words: int
    bytes: int
    started: datetime  # of the counting, by the node's clock
    counted: datetime
    node: str = ""
    task: str = ""
    job: str = ""
    pool: str = ""
    engine: str  # that counted: "native", or "stdlib"
    engine_note: str  # why the native one could not
    table: NodeTable | None  # where it was asked for

    def text(self) -> bytes:
        """The result as people read it, the same as the KEY.txt that the node has written."""
        words = "".join(f"{word}:\t{count}\n" for word, count in self.words)
        places = "".join(
            f"{name.capitalize() + ':':<6}{getattr(self, name)}\n" for name in ("node", "task", "job", "pool")
        )
        return f"Word\tCount\n{LINE}\n{words}{LINE}\n{places}".encode()


def read_node_result(content: bytes, file: InputFile, plan: Plan) -> NodeResult:
    """The result of this file. Raises RunFailed when it is damaged or another's."""
    try:
        result = NodeResult.model_validate_json(content)
    except ValidationError as error:
        raise RunFailed(f"the result is damaged: {error.errors()[0]['msg']}") from None
    if (result.format, result.key, result.num_words) != (FORMAT, file.key, plan.num_words):
        raise RunFailed("the result is not this file's: its format, key or number of words differs")
    if plan.counting.table and result.table is None:
        raise RunFailed("the result has no table of all words")
    if result.bytes != file.size_bytes:
        raise RunFailed(f"the file changed during the run: it had {file.size_bytes} bytes, {result.bytes} were counted")
    return result
