"""Intervals against libraries and by simulation of their coverage."""

import numpy as np
import pytest
from scipy import stats

from audit import statistics
from audit.methods.calibration import aurc, fit_temperature


def test_wilson_is_scipys():
    for k, n in [(0, 10), (3, 10), (10, 10), (487, 500)]:
        low, high = stats.binomtest(k, n).proportion_ci(method="wilson")
        assert statistics.wilson(k, n) == pytest.approx((low, high), abs=1e-9)


@pytest.mark.parametrize("p", [0.02, 0.3, 0.95])
def test_wilson_covers(p):
    n = 200
    draws = np.random.default_rng(0).binomial(n, p, 4000)
    inside = [statistics.wilson(k, n)[0] <= p <= statistics.wilson(k, n)[1] for k in draws]
    assert np.mean(inside) > 0.93


def test_clustered_proportion_covers_where_the_plain_one_does_not():
    rng = np.random.default_rng(0)
    plain = clustered = 0
    clusters = np.repeat(np.arange(60), 10)
    for _ in range(400):
        values = np.repeat(rng.random(60) < 0.7, 10)  # whole clusters agree
        metric = statistics.proportion("p", values, clusters=clusters)
        clustered += metric.low <= 0.7 <= metric.high
        metric = statistics.proportion("p", values)
        plain += metric.low <= 0.7 <= metric.high
    assert clustered / 400 > 0.92
    assert plain / 400 < 0.7


def test_clusters_that_never_vary_count_as_clusters_not_samples():
    metric = statistics.proportion("p", np.ones(100), clusters=np.repeat(np.arange(5), 20))
    assert metric.low == pytest.approx(statistics.wilson(5, 5)[0])


def test_largest_gap_between_equal_groups_keeps_zero():
    """A percentile bootstrap excludes zero here in every single draw."""
    rng = np.random.default_rng(0)
    drawn = rng.binomial(250, 0.4, size=(300, 4))
    metrics = [statistics.gap_between("g", groups_of(k, [250] * 4)) for k in drawn]
    assert 0.01 <= np.mean([m.low > 0 for m in metrics]) <= 0.08
    assert all(m.high > 0 for m in metrics)


def test_largest_gap_covers_a_true_gap():
    rng = np.random.default_rng(1)
    drawn = rng.binomial(300, [0.2, 0.5, 0.35], size=(300, 3))
    metrics = [statistics.gap_between("g", groups_of(k, [300] * 3)) for k in drawn]
    assert np.mean([m.low <= 0.3 <= m.high for m in metrics]) >= 0.93


def test_calibration_error_keeps_zero_for_calibrated_models():
    rng = np.random.default_rng(0)
    errors, tests = [], []
    for seed in range(150):
        p = rng.uniform(0.5, 1, 300)
        hit = rng.random(300) < p
        errors.append(statistics.calibration_error(p, hit).low > 0)
        tests.append(statistics.calibration_test(p, hit, seed=seed, draws=200).value < 0.05)
    assert np.mean(errors) <= 0.06
    assert 0.01 <= np.mean(tests) <= 0.1


@pytest.mark.parametrize("n", [100, 200, 1000])
@pytest.mark.parametrize("truth", [0.05, 0.15])
@pytest.mark.parametrize("shape", ["alike", "bent"])
def test_calibration_error_is_straight(n, truth, shape):
    rng = np.random.default_rng(n)
    found = []
    for _ in range(80):
        p = rng.uniform(0.6, 0.85, n)
        off = truth if shape == "alike" else 4 * truth * (p - 0.725) / 0.25
        hit = rng.random(n) < p - off
        metric = statistics.calibration_error(p, hit)
        assert metric.value >= abs((p - hit).mean()) - 1e-9
        found.append((metric.value, metric.low <= truth <= metric.high, metric.low > 0.05))
    value, covered, shown = np.mean(found, axis=0)
    assert value == pytest.approx(truth, abs=0.025)
    assert covered >= 0.9
    if n == 1000 and truth > 0.1:
        assert shown == 1


def test_calibration_errors_that_cancel_between_groups_do_not_within_them():
    rng = np.random.default_rng(0)
    p, group = rng.uniform(0.3, 0.7, 1500), np.arange(1500) % 3
    hit = rng.random(1500) < p + np.array([-0.2, 0.2, 0.0])[group]
    assert statistics.calibration_error(p, hit).value < 0.05
    within = statistics.calibration_error(p, hit, within=group)
    assert within.value == pytest.approx(0.4 / 3, abs=0.02)
    assert within.low > 0.05


def test_calibration_is_tested_by_cluster():
    rng = np.random.default_rng(0)
    low, few, many = 0, [], []
    for seed in range(80):
        p = rng.uniform(0.55, 0.95, 50)
        hit, people = np.repeat(rng.random(50) < p, 10), np.repeat(np.arange(50), 10)
        p = np.repeat(p, 10)
        low += statistics.calibration_error(p, hit, clusters=people).low > 0
        few.append(statistics.calibration_test(p, hit, clusters=people, seed=seed, draws=300).value)
        many.append(statistics.calibration_test(p, hit, seed=seed, draws=300).value)
    assert low <= 8
    assert np.mean(np.array(few) < 0.05) <= 0.12
    assert np.mean(np.array(many) < 0.05) > 0.3


def test_sure_and_right_in_all_samples_is_not_certain():
    metric = statistics.calibration_error(np.full(200, 1.0 - 1e-6), np.ones(200))
    assert metric.low == 0
    assert metric.high > metric.value


def test_calibration_of_many_samples_and_groups_takes_seconds():
    import time

    rng = np.random.default_rng(0)
    p = rng.uniform(0.5, 1, 200_000)
    hit = rng.random(200_000) < p
    begun = time.perf_counter()
    statistics.calibration_error(p, hit, within=np.arange(200_000) % 200)
    statistics.calibration_test(p, hit)
    statistics.calibration_test(p, hit, clusters=np.arange(200_000) // 2)
    assert time.perf_counter() - begun < 20


def test_bootstrap_agrees_with_scipy_bca():
    data = np.random.default_rng(0).gamma(2, size=150)
    metric = statistics.bootstrap("v", lambda i: data[i].var(1), 150, draws=8000, edges=None)
    reference = stats.bootstrap(
        (data,), lambda x, axis: x.var(axis=axis), n_resamples=8000, method="BCa", rng=0
    ).confidence_interval
    assert metric.low == pytest.approx(reference.low, rel=0.05)
    assert metric.high == pytest.approx(reference.high, rel=0.05)


def a_ratio(data):
    """A smooth statistic that is biased in small samples."""
    return lambda i: data[i].mean(1) / data[i].std(1)


def test_a_bootstrap_of_part_of_the_samples_is_as_wide_as_of_all(monkeypatch):
    data = np.random.default_rng(0).gamma(2, size=8000)
    whole = statistics.bootstrap("r", a_ratio(data), 8000, edges=None)
    monkeypatch.setattr("audit.statistics.resampling.MANY", 1000)
    part = statistics.bootstrap("r", a_ratio(data), 8000, edges=None)
    assert "of 1,000 samples, scaled to 8,000" in part.estimator
    assert part.high - part.low == pytest.approx(whole.high - whole.low, rel=0.1)
    assert (part.low + part.high) / 2 == pytest.approx((whole.low + whole.high) / 2, abs=0.005)


def test_a_bootstrap_of_part_of_the_clusters_is_as_wide_as_of_all(monkeypatch):
    rng = np.random.default_rng(1)
    clusters = np.repeat(np.arange(400), 5)
    data = rng.gamma(2, size=2000) + rng.normal(size=400)[clusters]
    whole = statistics.bootstrap("r", a_ratio(data), 2000, clusters=clusters, edges=None)
    monkeypatch.setattr("audit.statistics.resampling.MANY", 100)
    part = statistics.bootstrap("r", a_ratio(data), 2000, clusters=clusters, edges=None)
    assert part.high - part.low == pytest.approx(whole.high - whole.low, rel=0.12)


def test_intervals_of_a_bootstrap_of_part_of_the_samples_cover(monkeypatch):
    monkeypatch.setattr("audit.statistics.resampling.MANY", 200)
    rng, held = np.random.default_rng(2), 0
    for seed in range(200):
        found = statistics.bootstrap(
            "r", a_ratio(rng.gamma(2, size=1000)), 1000, seed=seed, draws=400, edges=None
        )
        held += found.low <= np.sqrt(2) <= found.high
    assert 182 <= held <= 198


def test_bootstrap_at_the_edge_is_exact_not_degenerate():
    metric = statistics.bootstrap("r", lambda i: np.ones(len(i)), 100)
    assert metric.value == 1.0
    assert metric.low == pytest.approx(0.025 ** (1 / 100))


def test_stricter_levels_are_wider():
    proportion = statistics.proportion("p", np.arange(100) < 40)
    smooth = statistics.mean("m", np.random.default_rng(0).normal(size=50))
    for metric in (proportion, smooth):
        plain, strict = statistics.interval(metric), statistics.interval(metric, 0.99)
        assert strict[0] < plain[0]
        assert strict[1] > plain[1]


def paired(gained, lost, n):
    return statistics.mean(
        "d", [1] * gained + [-1] * lost + [0] * (n - gained - lost), edges=(-1, 1)
    )


def test_a_paired_difference_of_shares_is_tangos():
    z2 = stats.norm.ppf(0.975) ** 2
    none = paired(0, 0, 100)  # closed form: z² / (n + z²)
    assert (none.low, none.high) == pytest.approx((-z2 / (100 + z2), z2 / (100 + z2)), abs=1e-9)
    # The score of "no difference" is McNemar's: (b − c) / √(b + c) = z where an end is zero.
    b = 1 + z2 / 2 + np.sqrt(z2**2 / 4 + 2 * z2)
    assert statistics.tango(b, 1, 50, 0.025) == pytest.approx(0, abs=1e-9)
    assert statistics.tango(1, b, 50, 0.975) == pytest.approx(0, abs=1e-9)
    many = paired(4000, 3000, 20000)
    wald = 1.95996 * np.sqrt((7000 - 1000**2 / 20000) / 20000**2)
    assert (many.low, many.high) == pytest.approx((0.05 - wald, 0.05 + wald), abs=1e-4)
    assert many.value == pytest.approx(0.05)
    assert paired(20, 0, 20).high == 1
    assert paired(0, 20, 20).low == -1
    assert "Tango" in many.estimator


@pytest.mark.parametrize(("gained", "lost"), [(0.01, 0.0), (0.03, 0.01), (0.1, 0.1), (0.4, 0.1)])
def test_a_paired_difference_covers_where_few_differ(gained, lost):
    n, rng = 100, np.random.default_rng(0)
    inside, known = [], {}
    for b, c, _ in rng.multinomial(n, [gained, lost, 1 - gained - lost], size=2000):
        if (b, c) not in known:
            m = paired(b, c, n)
            known[b, c] = m.low <= gained - lost <= m.high
        inside.append(known[b, c])
    assert np.mean(inside) > 0.93


def test_equal_values_are_not_certain():
    metric = statistics.mean("m", np.full(50, 0.25), edges=(0, 1))
    others = 1 - 0.025 ** (1 / 50)  # exact: none of 50 is another
    assert (metric.low, metric.high) == pytest.approx((0.25 * (1 - others), 0.25 + 0.75 * others))


def test_mean_is_student_t():
    data = np.random.default_rng(0).normal(size=20)
    metric = statistics.mean("m", data)
    low, high = stats.ttest_1samp(data, 0).confidence_interval()
    assert (metric.low, metric.high) == pytest.approx((low, high))


def test_mcnemar_is_the_exact_binomial_test():
    old, new = np.array([1] * 12 + [0] * 8, bool), np.array([0] * 10 + [1] * 10, bool)
    lost, gained, p = statistics.mcnemar(old, new)
    assert (lost, gained) == (10, 8)
    assert p == pytest.approx(stats.binomtest(10, 18).pvalue)


# Reference values


def test_ece_reference():
    p, t = [0.25, 0.25, 0.55, 0.75, 0.75], [0, 0, 1, 1, 1]
    found = [statistics.binned_calibration_error(p, t, 2, norm) for norm in ("l1", "l2", "max")]
    assert found == pytest.approx([0.2900, 0.2918, 0.3167], abs=5e-5)


def test_aurc_reference():
    p, t = np.array([0.1, 0.2, 0.3, 0.4, 0.2]), np.array([0, 0, 1, 1, 0])
    confidence, correct = np.maximum(p, 1 - p), ((p >= 0.5) == t).astype(float)
    assert aurc(confidence[None], correct[None])[0] == pytest.approx(0.1125)


@pytest.mark.parametrize("k", [0.5, 1.0, 3.0])
def test_temperature_of_scaled_calibrated_logits_is_the_scale(k):
    inside = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        logits = rng.normal(0, 2, (2000, 4))
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        y = (rng.random((2000, 1)) > p.cumsum(1)).sum(1).clip(0, 3)
        t, low, high = fit_temperature(k * logits, y)
        assert t == pytest.approx(k, rel=0.15)
        inside.append(low <= k <= high)
    assert np.mean(inside) > 0.88


def test_difference_is_welchs():
    rng = np.random.default_rng(0)
    a, b = rng.normal(1, 1, 80), rng.normal(0, 3, 50)
    metric = statistics.difference("d", a, b)
    reference = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert metric.value == pytest.approx(a.mean() - b.mean())
    assert (metric.low, metric.high) == pytest.approx(reference, abs=1e-9)


def test_auroc_is_scikit_learns_with_ties():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    p, q = rng.integers(2, 9, 70), rng.integers(0, 7, 90)
    metric = statistics.auroc("a", p, q)
    assert metric.value == pytest.approx(roc_auc_score([1] * 70 + [0] * 90, [*p, *q]))


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
def test_auroc_covers(shift):
    rng = np.random.default_rng(1)
    truth = stats.norm.cdf(shift / np.sqrt(2))
    inside = 0
    for _ in range(600):
        metric = statistics.auroc("a", rng.normal(shift, 1, 60), rng.normal(0, 1, 80))
        inside += metric.low <= truth <= metric.high
    assert inside / 600 > 0.93


def test_auroc_at_the_edge_is_not_certain():
    metric = statistics.auroc("a", [3.0, 4, 5], [0.0, 1, 2])
    assert metric.value == 1.0
    assert metric.low < 0.4
    assert metric.high == pytest.approx(1.0, abs=0.01)


def test_gaps_of_equal_means_keep_zero():
    rng = np.random.default_rng(2)
    metrics = [
        statistics.gap_between_means("m", {str(n): rng.exponential(1, n) for n in (60, 200, 400)})
        for _ in range(300)
    ]
    assert np.mean([m.low > 0 for m in metrics]) <= 0.08


# Between groups


def groups_of(successes, sizes):
    return {str(g): np.arange(n) < k for g, (k, n) in enumerate(zip(successes, sizes, strict=True))}


def test_the_studentised_range_is_scipys():
    from audit.statistics.between import studentised_range

    for groups, level in [(2, 0.95), (5, 0.95), (40, 0.999)]:
        reference = stats.studentized_range.ppf(level, groups, np.inf)
        assert studentised_range(groups, level) == pytest.approx(reference, abs=1e-5)


@pytest.mark.parametrize("sizes", [(3, 3), (10, 10), (30, 30), (10, 300), (40, 80, 160)])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.97, 1.0])
def test_groups_that_are_equal_are_seldom_said_to_differ(sizes, p):
    drawn = np.random.default_rng(0).binomial(sizes, p, size=(150, len(sizes)))
    metrics = [statistics.gap_between("g", groups_of(k, sizes)) for k in drawn]
    assert np.mean([m.low > 0 for m in metrics]) <= 0.09
    assert all(m.high > 0 for m in metrics)


def test_a_gap_between_two_groups_is_found_as_often_as_by_the_textbook():
    drawn = np.random.default_rng(0).binomial(30, [0.9, 0.6], size=(200, 2))
    found = [statistics.gap_between("g", groups_of(k, (30, 30))).low > 0 for k in drawn]
    pooled = drawn.sum(1) / 60
    z = (drawn[:, 0] - drawn[:, 1]) / 30 / np.sqrt(pooled * (1 - pooled) * 2 / 30)
    assert np.mean(found) >= np.mean(abs(z) > 1.96) - 0.05


def test_one_person_is_a_group_and_settles_nothing():
    metric = statistics.gap_between("g", groups_of([0, 900], [1, 1000]))
    assert metric.value == pytest.approx(0.9)
    assert metric.low == 0
    assert metric.high > 0.85
    assert (metric.limited_by.what, metric.limited_by.n) == ("0", 1)


def test_a_group_without_samples_may_be_anywhere():
    metric = statistics.gap_between("g", groups_of([50, 50, 0], [100, 100, 0]))
    assert metric.value == 0
    assert metric.high == pytest.approx(0.51, abs=0.01)
    assert metric.limited_by.n == 0


def test_a_gap_over_several_rates_is_the_largest_of_them():
    rates = {
        "with the positive label": groups_of([10, 60], [40, 80]),
        "with the negative label": groups_of([30, 31], [300, 310]),
    }
    metric = statistics.gap_between("equalised", rates)
    assert metric.value == pytest.approx(0.5)
    assert metric.n == 730
    assert metric.limited_by.what == "0 with the positive label"
    alone = statistics.gap_between("one", rates["with the positive label"])
    assert metric.low < alone.low
    assert metric.high == pytest.approx(alone.high)


def test_gaps_stand_at_stricter_levels_too():
    metric = statistics.gap_between("g", groups_of([20, 60], [80, 80]))
    ends = [statistics.interval(metric, level) for level in (0.95, 0.99, 0.999)]
    assert ends[0][0] > ends[1][0] > ends[2][0]
    assert ends[0][1] < ends[1][1] < ends[2][1]


def test_clusters_widen_a_gap_and_shared_ones_narrow_it():
    rng = np.random.default_rng(0)
    wide = narrow = 0
    for _ in range(60):
        people = np.repeat(np.arange(40), 10)
        answers = np.repeat(rng.random(40) < 0.6, 10)
        halves = {"a": answers[:200], "b": answers[200:]}
        labels = {"a": people[:200], "b": people[200:]}
        wide += statistics.gap_between("g", halves, clusters=labels).low > 0
        # Every person in both groups: what a person's answers share cancels in the difference.
        odd = np.arange(400) % 2 == 0
        halves, labels = ({"a": v[odd], "b": v[~odd]} for v in (answers, people))
        narrow += 0 < statistics.gap_between("g", halves, clusters=labels).high < 0.1
    assert wide <= 6
    assert narrow == 60


def test_ratios_and_gaps_of_means_cover():
    rng = np.random.default_rng(1)
    ratio = means = 0
    for _ in range(300):
        metric = statistics.ratio_between("r", groups_of(rng.binomial(200, [0.2, 0.4]), (200, 200)))
        ratio += metric.low <= 0.5 <= metric.high
        apart = {str(m): rng.normal(m, 1, 60) for m in (0.0, 0.5, 1.0)}
        metric = statistics.gap_between_means("m", apart)
        means += metric.low <= 1 <= metric.high
    assert ratio / 300 > 0.93
    assert means / 300 > 0.93


def test_ratios_at_the_edges():
    assert statistics.ratio_between("r", groups_of([0, 0], [9, 9])).value is None
    none = statistics.ratio_between("r", groups_of([0, 60], [100, 100]))
    assert (none.value, none.low) == (0, 0)
    assert 0 < none.high < 0.2
    same = statistics.ratio_between("r", groups_of([50, 50], [100, 100]))
    assert same.low < 0.85
    assert same.high == 1


def test_two_hundred_groups_are_soon_compared():
    import time

    begun = time.perf_counter()
    statistics.gap_between("g", groups_of([25] * 200, [50] * 200))
    assert time.perf_counter() - begun < 5


# Nothing seen to differ is not certain


ALIKE = np.full(40, 0.3)
NOT_SEEN_TO_DIFFER = {
    "mean, no edges": lambda: statistics.mean("m", ALIKE),
    "mean of zeros": lambda: statistics.mean("m", np.zeros(40)),
    "mean, edges": lambda: statistics.mean("m", ALIKE, edges=(0, 1)),
    "mean of clusters": lambda: statistics.mean("m", ALIKE, clusters=np.arange(40) // 4),
    "paired": lambda: statistics.mean("m", np.zeros(40), edges=(-1, 1)),
    "difference of shares": lambda: statistics.difference("d", np.ones(40), np.ones(30)),
    "difference, one side alike": lambda: statistics.difference("d", ALIKE, np.linspace(0, 1, 30)),
    "difference of values": lambda: statistics.difference("d", ALIKE, ALIKE[:30]),
    "difference of zeros": lambda: statistics.difference("d", 0 * ALIKE, 0 * ALIKE),
    "bootstrap within": lambda: statistics.bootstrap(
        "b", lambda i: np.full(len(i), 0.3), 40, draws=50
    ),
    "bootstrap, no edges": lambda: statistics.bootstrap(
        "b", lambda i: np.full(len(i), 7.0), 40, draws=50, edges=None
    ),
    "bootstrap of clusters": lambda: statistics.bootstrap(
        "b", lambda i: np.ones(len(i)), 40, draws=50, clusters=np.arange(40) // 4
    ),
    "auroc of ties": lambda: statistics.auroc("a", np.ones(20), np.ones(20)),
    "auroc, apart": lambda: statistics.auroc("a", np.ones(20), np.zeros(20)),
    "gap": lambda: statistics.gap_between("g", groups_of([40, 40], [40, 40])),
    "gap of means": lambda: statistics.gap_between_means("g", {"a": ALIKE, "b": ALIKE}),
    "ratio": lambda: statistics.ratio_between("r", groups_of([40, 40], [40, 40])),
    "share": lambda: statistics.proportion("p", np.ones(40)),
    "calibration": lambda: statistics.calibration_error(np.ones(40), np.ones(40)),
}


@pytest.mark.parametrize("kind", NOT_SEEN_TO_DIFFER)
def test_no_interval_is_without_width_at_any_level(kind):
    metric = NOT_SEEN_TO_DIFFER[kind]()
    assert metric.low <= metric.value <= metric.high
    for level in (0.95, 0.99, 0.999):
        low, high = statistics.interval(metric, level)
        assert high - low > 0.001
    if metric.edges:
        low, high = metric.edges
        assert low is None or metric.low >= low
        assert high is None or metric.high <= high


def test_few_clusters_widen_a_mean_and_a_share():
    rng = np.random.default_rng(0)
    for k, m in [(5, 20), (30, 10)]:
        people, inside = np.repeat(np.arange(k), m), np.zeros(2)
        for _ in range(300):
            level = rng.normal(size=k)
            values = np.repeat(level, m) + rng.normal(size=k * m)
            mean = statistics.mean("m", values, clusters=people)
            answers = rng.random(k * m) < np.repeat(rng.beta(3, 3, k), m)
            found = statistics.proportion("p", answers, clusters=people)
            inside += [mean.low <= 0 <= mean.high, found.low <= 0.5 <= found.high]
        assert (inside / 300 >= 0.92).all(), (k, inside / 300)


def test_auroc_covers_where_samples_come_in_clusters():
    rng = np.random.default_rng(1)
    truth, inside = stats.norm.cdf(1 / np.sqrt(2)), 0
    people = np.repeat(np.arange(40), 5)
    for _ in range(300):
        p, q = (np.repeat(rng.normal(s, 1, 40), 5) for s in (1, 0))
        metric = statistics.auroc("a", p, q, clusters=(people, people + 40))
        inside += metric.low <= truth <= metric.high
    assert inside / 300 > 0.92


def test_the_bootstrap_of_clusters_takes_whole_ones():
    seen = []

    def statistic(index):
        seen.append(index[0])
        return index.mean(1)

    labels = np.array(["b", "a", "b", "c", "a", "b"])
    statistics.bootstrap("b", statistic, 6, clusters=labels, draws=20, edges=None)
    for index in seen[1:]:
        times = np.bincount(index, minlength=6)
        assert times[0] == times[2] == times[5]
        assert times[1] == times[4]
