"""Does the model treat people's groups alike?

For every sensitive attribute, per group: how often each class is answered, how often it is found where
it is the label (true positive rate) and answered where it is not (false positive rate), and accuracy;
between groups: demographic parity and equalised odds differences (Hardt et al. 2016), the ratio of
selection rates (the four-fifths rule) and the accuracy difference. For values, in the unit of the
labels: absolute error, signed error and mean answer per group, and their largest differences (Agarwal
et al. 2019); their bounds are half of the labels' standard deviation. Of several values each is
compared, in its own standard deviations. For embeddings recall@1, and how often strangers of a group are
taken for one another at the threshold at which one in 100 pairs of all strangers is (Grother, Ngan and
Hanaoka 2019).

Every group is in every number, however small: intervals of differences hold for all pairs of groups at
once and are as wide as the smallest group makes them. A group without a sample that a rate could be
counted on is named, and the difference may be anything for it.

Which answer is the favourable one is never guessed. Differences do not depend on it; rates and ratios are
shown for both answers until `[subject] favourable` says it, and no ratio gates. Which difference
matters depends on the use; no number here is a legal finding.

The values of both differences are held to fairlearn's (Weerts et al. 2023); the intervals are ours.

Planted and looked for (`benchmarks/detection`): a group of which 90 % was withheld in training is
found in 6 of 6 seeds, at 80 % in 4, at 50 % in none; labels of a group biased for a quarter of its
members in 6 of 6. No false alarm on 20 clean models of each (at most 16.1 %).
"""

from __future__ import annotations

from typing import ClassVar

from audit.checking import Check, Context, Expectation, Measurement
from audit.checks.fairness import matches, qualities, rates, values
from audit.checks.fairness.grouping import Findings, members
from audit.errors import NotApplicable
from audit.record import Guidance, Severity, Slice
from audit.subject import Subject

TAGS = ["NIST AI RMF MEASURE 2.11", "EU AI Act Article 10"]
SPREADS = 0.5  # of the labels, that errors and answers of groups may be apart


class Groups(Check):
    """Does the model treat people's groups alike?"""

    id: ClassVar[str] = "fairness.groups"
    causes: ClassVar[dict[str, str]] = {
        "*": "fairness.errors",
        "demographic_parity_difference": "fairness.answers",
        "answer_difference": "fairness.answers",
    }
    title: ClassVar[str] = "Does the model treat people's groups alike?"

    def applies(self, subject: Subject) -> None:
        subject.require("judged")
        if not subject.sensitive:
            raise NotApplicable("no sensitive attribute is given ([subject] sensitive)")

    def examine(self, context: Context) -> Measurement:
        subject = context.subject
        task = subject.task
        compare = (
            rates.compare
            if task.decides
            else values.compare
            if task.valued
            else matches.compare
            if task.compares
            else qualities.compare
        )
        all_ = Findings()
        for attribute, labels in subject.sensitive.items():
            all_.add(compare(context, attribute, members(labels)))
        answer = f"{' '.join(all_.said)} n = {subject.n:,}."
        if subject.task.decides and len(subject.classes) == 2 and subject.meta.favourable is None:
            answer += (
                f" Whether {subject.classes[0]} or {subject.classes[1]} is the favourable answer is "
                "not stated ([subject] favourable), so rates are shown for both."
            )
        return Measurement(
            answer=answer,
            metrics=all_.metrics,
            validity=all_.validity,
            tables=all_.tables,
            figures=all_.figures,
            left_out=all_.left_out,
            guidance={name: self.advice(name, subject, all_.who) for name in ADVICE},
        )

    def advice(self, name: str, subject: Subject, who: dict[str, dict[str, str]]) -> Guidance:
        title, what = ADVICE[name]
        if name == "demographic_parity_difference" and subject.meta.favourable is None:
            title = "Groups get the same answer at different rates"
        return Guidance(
            title=title,
            # The judge puts the slice in first, and then what stands under its name.
            what_happened=f"{{who at {{slice}}}} {what} {{value}} ({{low}} to {{high}}); the bound is "
            "{bound}.",
            why_it_matters="People of one group get another answer, or another quality of answer, "
            "than people of another; whether that is justified is for people to say.",
            what_to_do="Look at the rates by group below; check labels and representation of the "
            "groups, then consider constraints in training or thresholds by fairlearn's reductions "
            "and post-processing.",
            tags=TAGS,
            words={f"who at attribute {at}": told for at, told in who.get(name, {}).items()},
        )

    def expectations(self, subject: Subject) -> list[Expectation]:
        bounds: list[tuple[str, float, Severity]] = [("accuracy_difference", 0.1, "high")]
        where: Slice = {"attribute": "*"}
        if subject.task.valued:
            scales = subject.task.scales(subject)
            bound = SPREADS * float(scales.mean())
            if len(subject.task.fields(subject.meta, len(scales))) > 1:
                where, bound = {**where, "output": "*"}, SPREADS
            bounds = [
                ("error_difference", bound, "high"),
                ("bias_difference", bound, "high"),
                ("answer_difference", bound, "medium"),
            ]
        elif not subject.task.decides:
            bounds = [("quality_difference", 0.1, "high")]
            if subject.task.compares:
                bounds.append(("false_match_difference", 0.05, "medium"))
        elif len(subject.classes) == 2 or subject.meta.favourable is not None:
            bounds += [
                ("demographic_parity_difference", 0.1, "medium"),
                ("equalized_odds_difference", 0.1, "high"),
            ]
        return [
            Expectation(
                metric=metric,
                slice=where,
                op="not_shown_above",
                bound=bound,
                severity=severity,
            )
            for metric, bound, severity in bounds
        ]


ADVICE = {
    "error_difference": ("The model errs more on some groups", "Mean absolute errors differ by"),
    "bias_difference": (
        "The model answers too high or too low for some groups",
        "Mean errors, with their sign, differ by",
    ),
    "false_match_difference": (
        "Strangers of one group are taken for one another more often",
        "The rates of false matches differ by",
    ),
    "quality_difference": ("The model serves some groups worse", "On average answers differ by"),
    "answer_difference": ("Groups get different answers on average", "Mean answers differ by"),
    "demographic_parity_difference": (
        "Groups get the favourable answer at different rates",
        "The rates differ by",
    ),
    "equalized_odds_difference": (
        "The model errs differently on different groups",
        "The largest such difference is",
    ),
    "accuracy_difference": (
        "The model is right less often on some groups",
        "The shares of right answers differ by",
    ),
}
