"""Send thousands of spoiled requests and archives to a challenge server: nothing may be a 5xx, hang or crash.

``python benchmarks/server_mutations.py --requests 4000 --archives 1000 --out benchmarks/server_mutations.json``

Each thousand has a seed of its own and a new server; what is done stands in the file, and is not repeated.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from c2seg.server.web.settings import WebLimits, WebSettings
from helpers.challenge_site import OFF, running_site
from hostile.web import Outcome, archive_campaign, campaign

LIMITS = WebLimits(
    pages_per_minute=OFF.pages_per_minute, writes_per_minute=OFF.writes_per_minute, logins_per_minute=OFF.logins_per_minute,
    header_s=0.5, idle_s=0.5, open_uploads=5000,
)  # fmt: skip
BLOCK = {"requests": 500, "archives": 125}


def block(kind: str, seed: int, count: int) -> Outcome:
    with tempfile.TemporaryDirectory() as folder, running_site(Path(folder), WebSettings(limits=LIMITS)) as site:
        site.open_phase(daily_quota=5000, total_quota=5000)
        return (campaign if kind == "requests" else archive_campaign)(site, seed, count)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--archives", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument(
        "--minutes", type=float, default=5.0, help="Stop after the block that exceeds it; run again to resume."
    )
    parser.add_argument("--out", type=Path, default=Path("server_mutations.json"))
    options = parser.parse_args()
    for name in ("uvicorn", "c2seg"):
        logging.getLogger(name).setLevel(logging.ERROR)
    done = json.loads(options.out.read_text()) if options.out.exists() else {}
    end = time.monotonic() + 60 * options.minutes
    for kind, total in (("requests", options.requests), ("archives", options.archives)):
        for start in range(0, total, BLOCK[kind]):
            name = f"{kind} {start}"
            if name in done or time.monotonic() > end:
                continue
            began = time.monotonic()
            outcome = block(kind, options.seed + start, min(BLOCK[kind], total - start))
            done[name] = {
                "statuses": dict(sorted(outcome.statuses.items())), "faults": outcome.faults,
                "seconds": round(time.monotonic() - began, 1),
            }  # fmt: skip
            options.out.write_text(json.dumps(done, indent=1) + "\n")
    for kind in BLOCK:
        statuses: Counter[str] = Counter()
        faults = []
        for name, result in done.items():
            if name.startswith(kind):
                statuses.update(result["statuses"])
                faults += result["faults"]
        print(f"{kind}: {statuses.total()} sent, {len(faults)} faults: {dict(sorted(statuses.items()))}")
        print(*faults[:20], sep="\n")


if __name__ == "__main__":
    main()
