#include "core/permits.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "support/times.h"

namespace sekering {
namespace {

// ---------------------------------------------------------------- Bulkhead

TEST(Bulkhead, GrantsUpToItsCapacity) {
  Bulkhead<1> bulkhead{};
  EXPECT_TRUE(bulkhead.TryAcquire(2));
  EXPECT_TRUE(bulkhead.TryAcquire(2));
  EXPECT_FALSE(bulkhead.TryAcquire(2));
  EXPECT_EQ(bulkhead.InUse(), 2u);
  EXPECT_TRUE(bulkhead.Release());
  EXPECT_TRUE(bulkhead.TryAcquire(2));
  EXPECT_FALSE(bulkhead.TryAcquire(0));
}

TEST(Bulkhead, ReleaseStopsAtZero) {
  Bulkhead<1> bulkhead{};
  EXPECT_FALSE(bulkhead.Release());
  EXPECT_TRUE(bulkhead.TryAcquire(1));
  EXPECT_TRUE(bulkhead.Release());
  EXPECT_FALSE(bulkhead.Release());
  EXPECT_EQ(bulkhead.InUse(), 0u);
}

TEST(Bulkhead, TakesEveryCapacity) {
  Bulkhead<4> bulkhead{};
  for (uint32_t i = 0; i < 100; ++i) EXPECT_TRUE(bulkhead.TryAcquire(UINT64_MAX, {i % 4, 0}));
  EXPECT_EQ(bulkhead.InUse(), 100u);
  EXPECT_TRUE(bulkhead.TryAcquire(kCapacityMax, {}));
  EXPECT_FALSE(bulkhead.TryAcquire(101, {}));
}

TEST(Bulkhead, PermitsOfTheDeadComeBack) {
  Bulkhead<3> bulkhead{};
  const Holder dead{1, 7};
  const Holder alive{2, 1};
  EXPECT_TRUE(bulkhead.TryAcquire(3, dead));
  EXPECT_TRUE(bulkhead.TryAcquire(3, dead));
  EXPECT_TRUE(bulkhead.TryAcquire(3, alive));
  EXPECT_FALSE(bulkhead.TryAcquire(3, alive));
  EXPECT_EQ(bulkhead.Forfeit(dead), 2u);
  EXPECT_EQ(bulkhead.Forfeit(dead), 0u);
  EXPECT_EQ(bulkhead.InUse(), 1u);
  EXPECT_FALSE(bulkhead.Release(dead));
}

TEST(Bulkhead, ANewUserOfAPlaceIsNotItsPredecessor) {
  Bulkhead<2> bulkhead{};
  const Holder before{1, 2047};
  const Holder after{1, 2048};  // Wraps to 0 in the word.
  EXPECT_TRUE(bulkhead.TryAcquire(5, before));
  EXPECT_TRUE(bulkhead.TryAcquire(5, before));
  EXPECT_EQ(bulkhead.HeldBy(after), 0u);
  EXPECT_FALSE(bulkhead.Release(after));
  EXPECT_EQ(bulkhead.InUse(), 2u);
  EXPECT_TRUE(bulkhead.TryAcquire(5, after));
  EXPECT_EQ(bulkhead.InUse(), 1u) << "what the predecessor left is given back";
  EXPECT_EQ(bulkhead.Forfeit(before), 0u) << "a late clean-up leaves the new user alone";
  EXPECT_EQ(bulkhead.HeldBy(after), 1u);
}

TEST(Bulkhead, DamagedWordsNeverRaiseTheLimit) {
  std::mt19937_64 random(5);
  for (int round = 0; round < 1000; ++round) {
    Bulkhead<4> bulkhead{};
    std::array<uint64_t, sizeof bulkhead / 8> words;
    for (uint64_t& word : words) word = random() >> (random() % 64);
    std::memcpy(static_cast<void*>(&bulkhead), words.data(), sizeof bulkhead);
    int granted = 0;
    while (granted <= 3 && bulkhead.TryAcquire(3, {2, 0})) ++granted;
    EXPECT_LE(granted, 3);
    EXPECT_FALSE(words[0] > 4 && bulkhead.Plausible(3));
  }
  EXPECT_TRUE(Bulkhead<4>().Plausible(3));
}

TEST(Bulkhead, FollowsTheModel) {
  constexpr uint32_t kPlaces = 5;
  std::mt19937_64 random(1);
  Bulkhead<kPlaces> bulkhead{};
  std::vector<uint64_t> held(kPlaces);
  std::vector<uint32_t> incarnation(kPlaces);
  uint64_t capacity = 4;
  for (int step = 0; step < 200'000; ++step) {
    const auto place = static_cast<uint32_t>(random() % kPlaces);
    const Holder holder{place, incarnation[place]};
    const uint64_t total = std::accumulate(held.begin(), held.end(), uint64_t{0});
    switch (random() % 16) {
      case 0:  // Somebody noticed that the holder died.
        EXPECT_EQ(bulkhead.Forfeit(holder), held[place]);
        held[place] = 0;
        ++incarnation[place];
        break;
      case 1:
        capacity = random() % 12;
        break;
      case 2:
      case 3:
      case 4:
      case 5:
      case 6:
      case 7:
        EXPECT_EQ(bulkhead.Release(holder), held[place] > 0);
        if (held[place] > 0) --held[place];
        break;
      default: {
        const bool expected = total < capacity;
        ASSERT_EQ(bulkhead.TryAcquire(capacity, holder), expected);
        if (expected) ++held[place];
      }
    }
    ASSERT_EQ(bulkhead.InUse(), std::accumulate(held.begin(), held.end(), uint64_t{0}));
    ASSERT_EQ(bulkhead.HeldBy({place, incarnation[place]}), held[place]);
  }
}

// ---------------------------------------------------------------- TokenBucket

struct RateCase {
  uint64_t limit;
  Micros interval;
};

TEST(TokenBucket, ExactlyTheLimitArrivesInAnInterval) {
  const RateCase cases[] = {{1, kSecond},   {3, kSecond},        {7, kSecond},
                            {997, kSecond}, {30, 1000},          {12345, 60 * kSecond},
                            {10, 10'001},   {1'000'000, kSecond}};
  for (const auto& [limit, interval] : cases) {
    const TokenRate rate = TokenRate::Make(limit, interval, limit);
    ASSERT_EQ(rate.burst(), limit);
    TokenBucket bucket{};
    for (Micros now = 5; now < 5 + 3 * interval; now += interval) {
      for (uint64_t i = 0; i < limit; ++i) ASSERT_EQ(bucket.TryTake(rate, now), 0) << limit;
      const Micros wait = bucket.TryTake(rate, now);
      EXPECT_EQ(wait, (interval + static_cast<Micros>(limit) - 1) / static_cast<Micros>(limit));
      EXPECT_EQ(bucket.TryTake(rate, now, limit), interval);
    }
  }
}

TEST(TokenBucket, WaitIsExact) {
  const TokenRate rate = TokenRate::Make(10, kSecond, 5);
  TokenBucket bucket{};
  EXPECT_EQ(bucket.TryTake(rate, 0, 5), 0);
  EXPECT_EQ(bucket.TryTake(rate, 0, 2), 200'000);
  EXPECT_EQ(bucket.TryTake(rate, 199'999, 2), 1);
  EXPECT_EQ(bucket.TryTake(rate, 200'000, 2), 0);
  EXPECT_EQ(bucket.TryTake(rate, 200'000, 6), kNever) << "more than the bucket holds";
  EXPECT_EQ(bucket.Wait(rate, 200'000, 6), 600'000) << "one after the other they will come";
  EXPECT_EQ(bucket.TryTake(rate, 200'000, 0), 0);
  EXPECT_DOUBLE_EQ(bucket.Available(rate, 450'000), 2.5);
  EXPECT_DOUBLE_EQ(bucket.Available(rate, 100 * kSecond), 5);
}

TEST(TokenBucket, FollowsTheModel) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 300; ++round) {
    const uint64_t limit = 1 + random() % 900;
    const uint64_t interval = 1 + random() % 5'000'000;
    const uint64_t burst = 1 + random() % 2000;
    const TokenRate rate = TokenRate::Make(limit, static_cast<Micros>(interval), burst);
    TokenBucket bucket{};
    // The model counts in parts of a token, so that every microsecond brings a whole number.
    unsigned __int128 level = static_cast<unsigned __int128>(burst) * interval;
    const unsigned __int128 full = level;
    Micros now = static_cast<Micros>(random() % (uint64_t{1} << 50));
    for (int step = 0; step < 500; ++step) {
      const uint64_t passed = random() % (2 * interval / limit + 2);
      now += static_cast<Micros>(passed);
      level = std::min(full, level + static_cast<unsigned __int128>(passed) * limit);
      const uint64_t n = random() % 4 == 0 ? 1 + random() % burst : 1;
      const unsigned __int128 cost = static_cast<unsigned __int128>(n) * interval;
      Micros expected = 0;
      if (cost <= level) {
        level -= cost;
      } else {
        expected = static_cast<Micros>((cost - level + limit - 1) / limit);
      }
      ASSERT_EQ(bucket.Wait(rate, now, n), expected);
      ASSERT_EQ(bucket.TryTake(rate, now, n), expected);
      ASSERT_NEAR(bucket.Available(rate, now),
                  static_cast<double>(level) / static_cast<double>(interval), 1e-6);
    }
  }
}

TEST(TokenBucket, AClockThatGoesBackGivesNothingAway) {
  const TokenRate rate = TokenRate::Make(10, kSecond, 10);
  TokenBucket bucket{};
  EXPECT_EQ(bucket.TryTake(rate, 100 * kSecond, 10), 0);
  EXPECT_EQ(bucket.TryTake(rate, 90 * kSecond), 10 * kSecond + 100'000);
  EXPECT_EQ(bucket.TryTake(rate, 100 * kSecond), 100'000) << "the old time changed nothing";
  EXPECT_EQ(bucket.TryTake(rate, 0), 100'000) << "another clock: an empty bucket";
  EXPECT_EQ(bucket.TryTake(rate, kSecond, 10), 0) << "which fills as it should";
}

TEST(TokenBucket, NoValueOverflows) {
  const uint64_t numbers[] = {0, 1, 2, 1023, 1025, 999'999'937, UINT64_MAX / 2, UINT64_MAX};
  const Micros times[] = {INT64_MIN, -1, 0, 1, kSecond, Micros{1} << 41, kNever, INT64_MAX};
  for (const uint64_t limit : numbers) {
    for (const uint64_t burst : numbers) {
      for (const Micros interval : times) {
        const TokenRate rate = TokenRate::Make(limit, interval, burst);
        EXPECT_EQ(rate.burst() == 0, limit == 0 || burst == 0);
        for (const Micros now : times) {
          for (const uint64_t n : numbers) {
            TokenBucket bucket{};
            const Micros wait = bucket.TryTake(rate, now, n);
            EXPECT_EQ(wait, n <= rate.burst() ? 0 : kNever);
            const Micros longer = bucket.Wait(rate, now, n);
            EXPECT_TRUE(longer >= 0 && longer <= kNever);
          }
        }
      }
    }
  }
}

TEST(TokenBucket, DamagedWordsAreAnEmptyBucket) {
  const TokenRate rate = TokenRate::Make(10, kSecond, 10);
  TokenBucket bucket{};
  std::memset(static_cast<void*>(&bucket), 0xFF, sizeof bucket);
  EXPECT_EQ(bucket.Wait(rate, kSecond, 1), 100'000);
  EXPECT_EQ(bucket.TryTake(rate, kSecond), 100'000);
  EXPECT_EQ(bucket.TryTake(rate, 2 * kSecond, 10), 0);
}

// ---------------------------------------------------------------- RetryBudget

TEST(RetryBudget, SuccessesEarnRetries) {
  const RetryRate rate = RetryRate::Make(0.1, 0, 5);
  RetryBudget budget{};
  for (int i = 0; i < 9; ++i) budget.Deposit(rate);
  EXPECT_FALSE(budget.TryWithdraw(rate, 0));
  budget.Deposit(rate);
  EXPECT_TRUE(budget.TryWithdraw(rate, 0));
  EXPECT_FALSE(budget.TryWithdraw(rate, 0));
  for (int i = 0; i < 1000; ++i) budget.Deposit(rate);
  EXPECT_DOUBLE_EQ(budget.Balance(rate, 0), 5) << "at most max are saved";
}

TEST(RetryBudget, ThreeThirdsAreAToken) {
  const RetryRate rate = RetryRate::Make(1.0 / 3, 0, 5);
  RetryBudget budget{};
  for (int i = 0; i < 3; ++i) budget.Deposit(rate);
  EXPECT_TRUE(budget.TryWithdraw(rate, 0));
}

TEST(RetryBudget, TheReserveComesByItself) {
  const RetryRate rate = RetryRate::Make(0, 2, 100);
  RetryBudget budget{};
  EXPECT_DOUBLE_EQ(budget.Balance(rate, 0), 2);
  EXPECT_TRUE(budget.TryWithdraw(rate, 0));
  EXPECT_TRUE(budget.TryWithdraw(rate, 0));
  EXPECT_FALSE(budget.TryWithdraw(rate, 499'999));
  EXPECT_TRUE(budget.TryWithdraw(rate, 500'000));
  const RetryRate slow = RetryRate::Make(0, 0.25, 100);
  RetryBudget other{};
  EXPECT_TRUE(other.TryWithdraw(slow, 0)) << "a fraction still saves up to a whole token";
  EXPECT_FALSE(other.TryWithdraw(slow, 4 * kSecond - 1));
  EXPECT_TRUE(other.TryWithdraw(slow, 4 * kSecond));
}

TEST(RetryBudget, StrangeFiguresAreLimits) {
  const double figures[] = {-1, 0, 1e-12, 1, 1e9, 1e300, HUGE_VAL, std::nan("")};
  for (const double ratio : figures) {
    for (const double reserve : figures) {
      for (const double max : figures) {
        const RetryRate rate = RetryRate::Make(ratio, reserve, max);
        RetryBudget budget{};
        std::memset(static_cast<void*>(&budget), max > 1 ? 0xFF : 0, sizeof budget);
        for (int i = 0; i < 3; ++i) budget.Deposit(rate);
        const double balance = budget.Balance(rate, INT64_MAX);
        EXPECT_TRUE(balance >= 0 && balance <= 1e9 + 1e6);
        budget.TryWithdraw(rate, INT64_MIN);
      }
    }
  }
}

}  // namespace
}  // namespace sekering
