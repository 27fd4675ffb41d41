#include "core/limits.h"

#include <gtest/gtest.h>

#include "support/fake_memory.h"
#include "support/times.h"

namespace sekering {
namespace {

TEST(Ids, OfDestroyedObjectsAreGivenOutAgain) {
  Ids<int> ids;
  EXPECT_EQ(ids.Find(0), nullptr);
  EXPECT_EQ(ids.next(), 0u);
  EXPECT_EQ(ids.Create(10), 0u);
  EXPECT_EQ(ids.Create(11), 1u);
  int* const first = ids.Find(0);
  EXPECT_EQ(*first, 10);
  ids.Destroy(0);
  EXPECT_EQ(ids.Find(0), nullptr);
  EXPECT_EQ(ids.next(), 0u);
  EXPECT_EQ(ids.Create(12), 0u);
  EXPECT_EQ(ids.Find(0), first) << "objects do not move";
  EXPECT_EQ(ids.Find(2), nullptr);
  EXPECT_EQ(ids.Find(UINT32_MAX), nullptr);
}

TEST(Limits, ABulkheadOfItsOwn) {
  Limits limits;
  BulkheadHandle& bulkhead = *limits.bulkheads.Find(limits.CreateBulkhead(1));
  EXPECT_TRUE(bulkhead.TryAcquire());
  EXPECT_FALSE(bulkhead.TryAcquire());
  EXPECT_FALSE(bulkhead.TryAcquireForLine(kSecond));
  EXPECT_EQ(bulkhead.InUse(), 1u);
  EXPECT_EQ(bulkhead.Held(), 1u);
  EXPECT_FALSE(bulkhead.MustYield(kSecond));
  EXPECT_EQ(bulkhead.Repairs(), 0u);
  EXPECT_TRUE(bulkhead.Release());
  EXPECT_FALSE(bulkhead.Release());
}

struct SharedLimits {
  explicit SharedLimits(size_t cells) : hot(cells), elsewhere(cells), cold(1) {}
  FakeHost host;
  Cells hot;
  Cells elsewhere;
  Cells cold;
  FakeMemory one{host, 1, hot, cold};
  FakeMemory other{host, 2, hot, cold};
};

TEST(Limits, ABulkheadOfSeveralEnvironments) {
  SharedLimits shared(SharedBulkhead::kHotCells);
  Limits limits;
  Limits others;
  BulkheadHandle& a = *limits.bulkheads.Find(limits.CreateBulkhead(3, shared.one));
  BulkheadHandle& c = *others.bulkheads.Find(others.CreateBulkhead(3, shared.other));
  EXPECT_TRUE(a.TryAcquire());
  EXPECT_TRUE(c.TryAcquire());
  EXPECT_EQ(a.InUse(), 2u);
  EXPECT_EQ(a.Held(), 1u);
  EXPECT_TRUE(c.TryAcquireForLine(kSecond));
  EXPECT_FALSE(a.TryAcquireForLine(kSecond));
  EXPECT_TRUE(c.MustYield(kSecond)) << "the first environment waits";
  EXPECT_TRUE(c.Release());
  EXPECT_TRUE(c.Release());
  EXPECT_FALSE(c.Release());
  EXPECT_EQ(a.InUse(), 1u);
}

TEST(Limits, ADestroyedHandleGivesBackWhatItHeld) {
  SharedLimits shared(SharedBulkhead::kHotCells);
  Limits limits;
  const uint32_t id = limits.CreateBulkhead(2, shared.one);
  EXPECT_TRUE(limits.bulkheads.Find(id)->TryAcquire());
  EXPECT_TRUE(limits.bulkheads.Find(id)->TryAcquire());
  limits.bulkheads.Destroy(id);
  Limits others;
  BulkheadHandle& other = *others.bulkheads.Find(others.CreateBulkhead(2, shared.other));
  EXPECT_EQ(other.InUse(), 0u);
}

TEST(Limits, ASecondHandleUsesTheSamePlace) {
  SharedLimits shared(SharedBulkhead::kHotCells);
  Limits limits;
  BulkheadHandle& a = *limits.bulkheads.Find(limits.CreateBulkhead(2, shared.one));
  BulkheadHandle& b = *limits.bulkheads.Find(limits.CreateBulkhead(2, shared.one));
  EXPECT_EQ(limits.places.size(), 1u);
  EXPECT_EQ(shared.one.left, 1) << "the second use is none";
  EXPECT_TRUE(a.TryAcquire());
  EXPECT_FALSE(b.Release());
  EXPECT_EQ(b.Held(), 1u) << "of the environment";
  EXPECT_TRUE(a.Release());
}

TEST(Limits, ABulkheadThatMovesIsHeldThere) {
  SharedLimits shared(SharedBulkhead::kHotCells);
  Limits limits;
  BulkheadHandle& bulkhead = *limits.bulkheads.Find(limits.CreateBulkhead(2, shared.one));
  EXPECT_TRUE(bulkhead.TryAcquire());
  shared.one.MoveTo(shared.elsewhere, shared.cold);
  EXPECT_EQ(bulkhead.InUse(), 1u);
  EXPECT_TRUE(bulkhead.TryAcquire());
  EXPECT_FALSE(bulkhead.TryAcquire());
}

TEST(Limits, PermitsInUseMoveWithoutAnybodyAskingForOne) {
  SharedLimits shared(SharedBulkhead::kHotCells);
  Limits limits;
  EXPECT_TRUE(limits.bulkheads.Find(limits.CreateBulkhead(2, shared.one))->TryAcquire());
  shared.one.MoveTo(shared.elsewhere, shared.cold);
  Limits others;
  shared.other.MoveTo(shared.elsewhere, shared.cold);
  BulkheadHandle& other = *others.bulkheads.Find(others.CreateBulkhead(2, shared.other));
  EXPECT_EQ(other.InUse(), 0u);
  limits.Follow();
  EXPECT_EQ(other.InUse(), 1u);
}

TEST(Limits, TokenBucketsOfTheirOwnAndShared) {
  const TokenRate rate = TokenRate::Make(1, kSecond, 1);
  SharedLimits shared(TokenBucketHandle::kHotCells);
  Limits limits;
  TokenBucketHandle& own = *limits.token_buckets.Find(limits.token_buckets.Create(rate));
  TokenBucketHandle& a = *limits.token_buckets.Find(limits.token_buckets.Create(rate, &shared.one));
  TokenBucketHandle& b =
      *limits.token_buckets.Find(limits.token_buckets.Create(rate, &shared.other));
  EXPECT_EQ(own.state().TryTake(own.rate, kSecond), 0);
  EXPECT_EQ(a.state().TryTake(a.rate, kSecond), 0);
  EXPECT_EQ(b.state().TryTake(b.rate, kSecond), kSecond);
}

TEST(Limits, ADestroyedLimitLeavesItsMemory) {
  SharedLimits shared(RetryBudgetHandle::kHotCells);
  Limits limits;
  const RetryRate rate = RetryRate::Make(0.5, 0, 10);
  const uint32_t id = limits.retry_budgets.Create(rate, &shared.one);
  RetryBudgetHandle& budget = *limits.retry_budgets.Find(id);
  for (int i = 0; i < 2; ++i) budget.state().Deposit(budget.rate);
  EXPECT_TRUE(budget.state().TryWithdraw(budget.rate, kSecond));
  EXPECT_FALSE(budget.state().TryWithdraw(budget.rate, kSecond));
  limits.retry_budgets.Destroy(id);
  EXPECT_EQ(shared.one.left, 1);
}

}  // namespace
}  // namespace sekering
