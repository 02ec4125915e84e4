"""Check every golden item of a folder: `python -m tests.golden DIR [-v] [--only NAME ...]`.

With `--backend openvino:bf16` and the like, the items whose networks a backend can run.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from tests.golden.case import Item
from tests.golden.compare import Comparison
from tests.golden.outside import ITEMS, TOLERANCES, run_by
from tests.golden.registry import RUNNERS
from tests.golden.run import check_item


def main(argv: Sequence[str] | None = None) -> int:
    """Print one line an item; 0 when none fails, 1 when one does, 2 when there is none."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder in the format of the golden fixtures")
    parser.add_argument("-v", "--verbose", action="store_true", help="one line an output as well")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="items by prefix")
    parser.add_argument("--backend", choices=TOLERANCES, help="that runs the depth networks")
    options = parser.parse_args(argv)
    paths = sorted(options.folder.glob("*.json"))
    if options.backend:
        paths = [path for path in paths if path.stem in ITEMS]
    if options.only:
        paths = [path for path in paths if path.stem.startswith(tuple(options.only))]
    if not paths:
        print(f"{options.folder} holds no golden item to check.", file=sys.stderr)
        return 2
    with run_by(options.backend) if options.backend else nullcontext():
        passed = [report(Item.read(path), options.verbose) for path in paths]
    return 0 if all(passed) else 1


def report(item: Item, verbose: bool) -> bool:
    """Check one item and print its line; False when it fails."""
    if item.name not in RUNNERS:
        print(f"{item.name:<28} {'-':>10} {'-':>8}  FAIL (unknown item)", flush=True)
        return False
    try:
        comparisons = list(check_item(item, RUNNERS[item.name]))
    except Exception:  # one broken item must not hide the others
        traceback.print_exc()
        print(f"{item.name:<28} {'-':>10} {'-':>8}  FAIL (error)", flush=True)
        return False
    if verbose:
        for comparison in comparisons:
            print(_line(f"  {comparison.case} {comparison.output}", comparison), flush=True)
    worst = max(comparisons, key=_severity)
    print(_line(item.name, worst), flush=True)
    return worst.passed


def _severity(comparison: Comparison) -> tuple[bool, float]:
    return not comparison.passed, comparison.error


def _line(name: str, comparison: Comparison) -> str:
    verdict = "PASS" if comparison.passed else "FAIL"
    return f"{name:<28} {comparison.error:>10.1e} {comparison.tolerance:>8.0e}  {verdict}"


if __name__ == "__main__":
    sys.exit(main())
