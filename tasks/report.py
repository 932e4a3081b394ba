"""What the run logs for people to read in the Prefect UI."""

from __future__ import annotations

from uuid import UUID

from prefect import task
from prefect.artifacts import acreate_table_artifact
from prefect.cache_policies import NO_CACHE

from tasks.results import Results

RESULTS_ARTIFACT = "topn-results"  # one key for all runs, so that the UI shows their history


@task(name="report", cache_policy=NO_CACHE)
async def log_results(results: Results) -> UUID:
    """Log a table of the top words per file, the failed files with their cause; return the artifact's id."""
    rows = [
        {
            "file": file.name,
            "top words": ", ".join(f"{word} ({count})" for word, count in file.words),
            "words": file.total_words,
            "distinct": file.distinct_words,
            "node": file.node,
            "seconds": file.seconds,
        }
        for file in results.files
    ]
    rows += [{"file": failed.name, "top words": f"FAILED: {failed.sentence}"} for failed in results.failed]
    return await acreate_table_artifact(
        table=rows,
        key=RESULTS_ARTIFACT,
        description=f"Top {results.num_words} words of each file, run {results.run_key}",
    )
