#include "core/retry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "support/times.h"

namespace sekering {
namespace {

/// Rules without chance, and their list of delays.
struct Series {
  explicit Series(double retries, bool forever = false)
      : rules{.retries = forever ? kInfinity : retries}, delays(DelaysInAdvance(retries, forever)) {
    DrawDelays(rules.backoff, delays);
  }
  RetryDecision Decide(const FailedAttempt& failed) { return DecideRetry(rules, delays, failed); }
  double DelayAfter(double number) {
    const RetryDecision decision = Decide({.number = number});
    EXPECT_EQ(decision.step, RetryStep::kWait);
    return decision.delay_ms;
  }

  RetryRules rules;
  std::vector<double> delays;
};

TEST(RetryDelays, AreDrawnInAdvanceUpToABound) {
  EXPECT_EQ(DelaysInAdvance(0, false), 0u);
  EXPECT_EQ(DelaysInAdvance(10, false), 10u);
  EXPECT_EQ(DelaysInAdvance(1e15, false), kDelaysInAdvanceMax);
  EXPECT_EQ(DelaysInAdvance(kInfinity, false), 100u);
  EXPECT_EQ(DelaysInAdvance(0, true), 1u) << "the delay that repeats itself";
  EXPECT_EQ(DelaysInAdvance(3, true), 3u);
}

TEST(RetryDelays, TakeTheirRandomNumbersInOrder) {
  const BackoffOptions options{.jitter = Jitter::kFull};
  std::vector<double> delays{0.9, 0.1, 0.5};
  DrawDelays(options, delays);
  EXPECT_EQ(delays, (std::vector<double>{900, 200, 2000}));
}

TEST(RetryDelays, OfTheRetryPackageAreSorted) {
  const BackoffOptions options{.jitter = Jitter::kRandomize, .factor = 1};
  std::vector<double> delays{0.9, 0.1, 0.5};
  DrawDelays(options, delays);
  EXPECT_EQ(delays, (std::vector<double>{1100, 1500, 1900}));
}

TEST(RetryDelays, DecorrelatedOnesDependOnTheOneBefore) {
  const BackoffOptions options{.strategy = BackoffStrategy::kDecorrelated};
  std::vector<double> delays(4, 0.5);
  DrawDelays(options, delays);
  EXPECT_EQ(delays, (std::vector<double>{2000, 3500, 5750, 9125}));
}

TEST(RetryDecision, WaitsForEachDelayAndThenGivesUp) {
  Series series(3);
  EXPECT_EQ(series.DelayAfter(1), 1000);
  EXPECT_EQ(series.DelayAfter(2), 2000);
  EXPECT_EQ(series.DelayAfter(3), 4000);
  EXPECT_EQ(series.Decide({.number = 4}).step, RetryStep::kExhausted);
}

TEST(RetryDecision, WithoutRetriesItGivesUpAtOnce) {
  Series series(0);
  EXPECT_EQ(series.Decide({.number = 1}).step, RetryStep::kExhausted);
}

TEST(RetryDecision, TheLastDelayRepeatsItself) {
  Series forever(2, true);
  EXPECT_EQ(forever.DelayAfter(2), 2000);
  EXPECT_EQ(forever.DelayAfter(3), 2000);
  EXPECT_EQ(forever.DelayAfter(1e9), 2000);
  Series many(5000);
  EXPECT_EQ(many.DelayAfter(1001), many.delays.back());
  EXPECT_EQ(many.DelayAfter(5000), many.delays.back());
  EXPECT_EQ(many.Decide({.number = 5001}).step, RetryStep::kExhausted);
}

TEST(RetryDecision, ALastDelayThatDependsOnChanceIsDrawnAnew) {
  RetryRules rules{.backoff = {.jitter = Jitter::kFull}, .retries = kInfinity};
  std::vector<double> delays{900, 2};
  const auto drawn = [&](double random) {
    return DecideRetry(rules, delays, {.number = 3, .random = random}).delay_ms;
  };
  EXPECT_EQ(drawn(0.5), 1000);
  EXPECT_EQ(drawn(0.25), 500);
  EXPECT_EQ(delays[0], 900);

  rules.backoff = {.strategy = BackoffStrategy::kDecorrelated};
  delays = {2000};
  EXPECT_EQ(drawn(0.5), 3500);
  EXPECT_EQ(drawn(0.5), 5750) << "it depends on the one before";
}

TEST(RetryDecision, AnEmptyListWaitsAMillisecond) {
  EXPECT_EQ(DecideRetry({.retries = kInfinity}, {}, {.number = 1}).delay_ms, 1);
}

TEST(RetryDecision, AnAttemptThatWouldBeginAtTheDeadlineOrLaterIsNotMade) {
  Series series(3);
  EXPECT_EQ(series.Decide({.number = 2, .left_ms = 2001}).delay_ms, 2000);
  EXPECT_EQ(series.Decide({.number = 2, .left_ms = 2000}).step, RetryStep::kPastDeadline);
  EXPECT_EQ(series.Decide({.number = 2, .left_ms = 0}).step, RetryStep::kPastDeadline);
  EXPECT_EQ(series.Decide({.number = 2, .retry_after_ms = 5000, .left_ms = 5000}).step,
            RetryStep::kPastDeadline);
  EXPECT_EQ(series.Decide({.number = 4, .left_ms = 0}).step, RetryStep::kExhausted);
}

TEST(RetryDecision, TheBudgetIsNotAskedForARetryThatTheDeadlineForbids) {
  Series series(3);
  const auto ask = [&](double left) {
    return series.Decide({.number = 1, .budget = BudgetVerdict::kNotAsked, .left_ms = left}).step;
  };
  EXPECT_EQ(ask(1000), RetryStep::kPastDeadline);
  EXPECT_EQ(ask(1001), RetryStep::kAskBudget);
}

TEST(RetryDecision, ADelayIsDrawnAnewOnlyForARetryThatIsMade) {
  RetryRules rules{.backoff = {.strategy = BackoffStrategy::kDecorrelated}, .retries = kInfinity};
  std::vector<double> delays = {2000};
  FailedAttempt failed{.number = 3, .budget = BudgetVerdict::kNotAsked, .random = 0.5};
  EXPECT_EQ(DecideRetry(rules, delays, failed).step, RetryStep::kAskBudget);
  EXPECT_EQ(delays[0], 2000);
  failed.budget = BudgetVerdict::kGranted;
  EXPECT_EQ(DecideRetry(rules, delays, failed).delay_ms, 3500);
  EXPECT_EQ(delays[0], 3500);
}

TEST(RetryDecision, AnErrorThatIsNotWorthItEndsIt) {
  Series series(3);
  EXPECT_EQ(series.Decide({.number = 1, .retryable = false}).step, RetryStep::kNotRetryable);
  EXPECT_EQ(series.Decide({.number = 9, .retryable = false}).step, RetryStep::kNotRetryable)
      << "which counts before all else";
}

TEST(RetryDecision, NoRetryAfterItsTime) {
  Series series(3);
  series.rules.retry_time_ms_max = 100;
  EXPECT_EQ(series.Decide({.number = 1, .elapsed_ms = 99}).step, RetryStep::kWait);
  EXPECT_EQ(series.Decide({.number = 1, .elapsed_ms = 100}).step, RetryStep::kOutOfTime);
  EXPECT_EQ(series.Decide({.number = 4, .elapsed_ms = 100}).step, RetryStep::kOutOfTime);
}

TEST(RetryDecision, RetryAfterMakesTheDelayLongerOnly) {
  Series series(3);
  const auto asked = [&](double ms) {
    return series.Decide({.number = 1, .retry_after_ms = ms}).delay_ms;
  };
  EXPECT_EQ(asked(10), 1000);
  EXPECT_EQ(asked(7000), 7000);
  EXPECT_EQ(asked(kInfinity), 60'000);
  series.rules.retry_after_ms_max = 0;
  EXPECT_EQ(asked(7000), 1000);
  EXPECT_EQ(series.delays[0], 1000) << "it is not what the next delay depends on";
}

TEST(RetryDecision, TheBudgetIsAskedWhenAllElseAllowsARetry) {
  Series series(1);
  const auto step = [&](FailedAttempt failed, BudgetVerdict budget) {
    failed.budget = budget;
    return series.Decide(failed).step;
  };
  series.rules.retry_time_ms_max = 100;
  const BudgetVerdict not_asked = BudgetVerdict::kNotAsked;
  EXPECT_EQ(step({.retryable = false}, not_asked), RetryStep::kNotRetryable);
  EXPECT_EQ(step({.elapsed_ms = 100}, not_asked), RetryStep::kOutOfTime);
  EXPECT_EQ(step({.number = 2}, not_asked), RetryStep::kExhausted);
  EXPECT_EQ(step({}, not_asked), RetryStep::kAskBudget);
  EXPECT_EQ(step({}, BudgetVerdict::kGranted), RetryStep::kWait);
  EXPECT_EQ(step({}, BudgetVerdict::kDenied), RetryStep::kOutOfBudget);
}

TEST(RetryNumbers, BecomeRules) {
  const std::array<double, kRetryNumbers> numbers{1, 3, 10, 20, 3, 0.5, 7, 100, 50};
  const auto rules = RetryRulesOf(numbers);
  ASSERT_TRUE(rules);
  EXPECT_EQ(rules->backoff.strategy, BackoffStrategy::kLinear);
  EXPECT_EQ(rules->backoff.jitter, Jitter::kProportional);
  EXPECT_EQ(rules->backoff.min_ms, 10);
  EXPECT_EQ(rules->backoff.max_ms, 20);
  EXPECT_EQ(rules->backoff.factor, 3);
  EXPECT_EQ(rules->backoff.proportion, 0.5);
  EXPECT_EQ(rules->retries, 7);
  EXPECT_EQ(rules->retry_time_ms_max, 100);
  EXPECT_EQ(rules->retry_after_ms_max, 50);
}

TEST(RetryNumbers, ThatAreNotRules) {
  std::array<double, kRetryNumbers> numbers{};
  EXPECT_TRUE(RetryRulesOf(numbers));
  EXPECT_FALSE(RetryRulesOf({}));
  EXPECT_FALSE(RetryRulesOf({numbers.data(), kRetryNumbers - 1}));
  for (const double wrong : {-1.0, 0.5, 5.0, kInfinity, std::nan("")}) {
    for (const size_t i : {0, 1}) {
      numbers = {};
      numbers[i] = wrong;
      EXPECT_FALSE(RetryRulesOf(numbers)) << wrong;
    }
  }
}

}  // namespace
}  // namespace sekering
