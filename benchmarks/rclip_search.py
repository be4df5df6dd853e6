"""Time the search stage of an installed rclip: its own database, loading and scoring, with the query's vector given.

PYTHON_WITH_RCLIP benchmarks/rclip_search.py VECTORS.npy FOLDER [ROWS]
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from rclip import db, main, model

_REPEATS = 3


class KnownQuery(model.Model):  # type: ignore[misc]
    """rclip's model, but for the towers: the query is there already."""

    def compute_features_for_queries(self, queries: list[str]) -> np.ndarray:
        """A fixed vector for what is looked for, nothing for what is not."""
        rng = np.random.default_rng(1)
        vector = rng.standard_normal(self.VECTOR_SIZE).astype(np.float32)
        return vector / np.linalg.norm(vector) if queries else np.zeros(self.VECTOR_SIZE, np.float32)


def run(vectors: Path, folder: Path, rows: int) -> dict[str, object]:
    """Fill a database once, then search it."""
    matrix = np.load(vectors, mmap_mode="r")[:rows]
    place = folder / f"rclip-{len(matrix)}.sqlite3"
    whole = place.with_suffix(".whole")  # a run that was stopped left a part of it
    if not whole.exists():
        place.unlink(missing_ok=True)
    database = db.DB(place)
    if not whole.exists():
        for row, vector in enumerate(matrix):
            name = f"/photos/{row // 1000:04}/{row:07}.jpg"
            image = db.NewImage(filepath=name, modified_at=0.0, size=1, vector=vector.tobytes(), hash=str(row))
            database.upsert_image(image, commit=False)
        database.commit()
        whole.touch()
    rclip = main.RClip(KnownQuery(), database, 8, None)
    times = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        rclip.search("two parrots", "/photos", 10)
        times.append(time.perf_counter() - started)
    return {"version": version("rclip"), "rows": len(matrix), "search_s": min(times), "runs_s": times}


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 10**9)))
