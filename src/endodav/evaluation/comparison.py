"""Reports side by side: differences on the same sequences, and whether they mean anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from endodav.errors import InputError
from endodav.evaluation.report import TITLES, Report, SequenceResult, interval
from endodav.evaluation.reproduction import Interval

NO_DIFFERENCE = "no significant difference"
ONE_SEQUENCE = "one common sequence: nothing can be said"


@dataclass(frozen=True)
class Difference:
    """One report against the first, in one metric of one protocol.

    Attributes:
        protocol: name.
        metric: name.
        sequences: how many both have.
        reference: mean of the first report over these.
        other: mean of the other.
        gap: other minus reference, paired by sequence.
    """

    protocol: str
    metric: str
    sequences: int
    reference: float
    other: float
    gap: Interval

    @property
    def verdict(self) -> str:
        """In words."""
        if self.sequences < 2:
            return ONE_SEQUENCE
        if not self.gap.significant:
            return NO_DIFFERENCE
        return "better" if (self.gap.mean < 0) == TITLES[self.metric].lower_is_better else "worse"


def compare(reference: Report, other: Report) -> Iterator[Difference]:
    """Differences in every protocol and metric that both have.

    Raises:
        InputError: they have no protocol or no sequence in common, or the same name stands for
            different data or ranges.
    """
    changed = [
        name
        for name, digest in reference.data_sha256.items()
        if other.data_sha256.get(name, digest) != digest
    ]
    if changed:
        raise InputError(
            f"{reference.title} and {other.title} were scored on different data called "
            f"{', '.join(changed)}; evaluate both on the same files."
        )
    empty = True
    for ours in reference.results:
        theirs = other.result(ours.protocol)
        if theirs is None:
            continue
        if theirs.range_mm != ours.range_mm:
            raise InputError(
                f"{reference.title} and {other.title} use different depth ranges in protocol "
                f"{ours.protocol}; evaluate both with the same --range."
            )
        for difference in _differences(ours.protocol, ours.sequences, theirs.sequences):
            empty = False
            yield difference
    if empty:
        raise InputError(
            f"{reference.title} and {other.title} have no sequence scored under the same protocol; "
            "evaluate both on the same data."
        )


def _differences(
    protocol: str, ours: Sequence[SequenceResult], theirs: Sequence[SequenceResult]
) -> Iterator[Difference]:
    by_name = {sequence.name: sequence for sequence in theirs}
    pairs = [(one, by_name[one.name]) for one in ours if one.name in by_name]
    for metric in TITLES:
        values = [
            (one.metrics[metric], two.metrics[metric])
            for one, two in pairs
            if metric in one.metrics and metric in two.metrics
        ]
        if values:
            gap = interval([two - one for one, two in values])
            before, after = (sum(column) / len(values) for column in zip(*values, strict=True))
            yield Difference(protocol, metric, len(values), before, after, gap)
