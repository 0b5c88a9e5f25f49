"""Ratios of later over expected counts: the posterior finds what made the data, and its forecasts cover what they claim."""

import numpy as np
import pytest

from flywheel.statistics.gamma_poisson import ratio_posterior, summary


def test_without_a_cluster_it_is_the_prior_and_claims_little():
    prior = ratio_posterior([], [])
    mean, low, high = prior.mean_ratio()
    assert prior.clusters == 0 and mean == pytest.approx(1.0, abs=0.03) and low < 0.2 and high > 2.5
    forecast = summary(prior.counts([20], np.random.default_rng(0)).sum(axis=1))
    assert forecast.low <= 1 and forecast.high > 50


def test_it_finds_the_mean_ratio_and_how_far_clusters_differ():
    rng = np.random.default_rng(3)
    expected = rng.uniform(5, 40, 60)
    alike = ratio_posterior(rng.poisson(0.3 * expected).tolist(), expected.tolist())
    assert alike.mean_ratio().low < 0.3 < alike.mean_ratio().high < 0.36
    differ = ratio_posterior(rng.poisson(rng.gamma(0.8, 0.3 / 0.8, 60) * expected).tolist(), expected.tolist())
    spreads = [np.ptp(np.quantile(one.ratios(1, np.random.default_rng(0)), (0.1, 0.9))) for one in (alike, differ)]
    assert spreads[1] > 3 * spreads[0]


def test_forecasts_of_new_clusters_cover_at_their_level():
    rng = np.random.default_rng(5)
    inside = total = 0
    for _ in range(25):
        expected = rng.uniform(2, 30, 24)
        came = rng.poisson(rng.gamma(1.5, 0.4 / 1.5, 24) * expected)
        learned = ratio_posterior(came[:14].tolist(), expected[:14].tolist())
        low, high = np.quantile(learned.counts(expected[14:].tolist(), rng, 800), (0.025, 0.975), axis=0)
        inside += int(((low <= came[14:]) & (came[14:] <= high)).sum())
        total += 10
    assert 0.91 <= inside / total <= 1.0


def test_sums_over_clusters_vary_together():
    learned = ratio_posterior([3, 1, 4], [10.0, 10.0, 10.0])
    draws = learned.counts([10.0] * 8, np.random.default_rng(0))
    apart = draws.var(axis=0).sum()
    assert draws.sum(axis=1).var() > 1.3 * apart
