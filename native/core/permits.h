// Permits: how many may run at once (Bulkhead), how many per stretch of time (TokenBucket), and how
// many retries recent successes have paid for (RetryBudget).
//
// The state of each is a few 64-bit atomic words, in place, without pointers and without locks. All
// zeroes is its first state, so initialize it with `{}`. The same code serves memory of one thread
// and memory that many processes map. A permit is always granted by ONE compare-and-swap, and
// nothing else has to follow it: a process that dies at any instruction leaves words that are right
// as they stand. The loops around the swaps end because a swap only fails when another one has
// succeeded.
//
// Limits (capacities and rates) are arguments, not state: what another process writes into shared
// memory can at worst use permits up, never raise a limit.

#ifndef SEKERING_CORE_PERMITS_H_
#define SEKERING_CORE_PERMITS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "core/cell.h"
#include "core/units.h"

namespace sekering {

/// Who holds permits: a participant's place, and which of the successive users of that place it is.
/// The incarnation counts modulo kIncarnations.
struct Holder {
  uint32_t index = 0;
  uint32_t incarnation = 0;
};
inline constexpr uint32_t kIncarnations = 1 << 11;

/// How many words ForfeitGone has emptied, and how many of them held more than is possible.
struct Forfeited {
  uint32_t words = 0;
  uint32_t damaged_words = 0;
};

/// The largest capacity, JavaScript's largest safe integer.
inline constexpr uint64_t kCapacityMax = (uint64_t{1} << 53) - 1;

/// A count from JavaScript. What is too large for one is JavaScript's largest safe integer.
inline uint64_t CountOf(double number) {
  if (!(number > 0)) return 0;
  if (number >= static_cast<double>(kCapacityMax)) return kCapacityMax;
  return static_cast<uint64_t>(number);
}

/// Counts permits in use, one word per participant; there is no total that could disagree with
/// the holdings. The last two parameters are for tests that interleave every access.
///
/// Never more than `capacity` are granted at once. To acquire is to claim (add one to one's own
/// word) and then to look at all the words: the claim stands if their sum is within the capacity,
/// else it is withdrawn. Suppose one permit too many were held at some moment, and look at the
/// permit among them that was claimed last: every other one was in its word before that claim and
/// is there still, so the claimant's sum, made after its claim, has counted them all, is above the
/// capacity, and the claim was withdrawn. (All accesses are sequentially consistent.)
///
/// A refusal means that all permits were in use or being claimed by others: two that race for the
/// last one may refuse each other. They try again kAttemptsMax times; for a single participant the
/// claim itself decides, and refusals are exact.
///
/// A participant that dies leaves its holdings, at most one claim per thread among them, in its own
/// word. Forfeit empties the word of that incarnation, and only of that: done twice, or late, when
/// the place already has a new user, it does nothing. A new incarnation that acquires does the same
/// to what its predecessor left.
template <size_t kParticipants, class Word = Cell, int kAttemptsMax = 4>
class Bulkhead {
  static_assert(kParticipants >= 1 && kParticipants <= 1024);

 public:
  bool TryAcquire(uint64_t capacity, Holder holder = {}) noexcept {
    capacity = std::min(capacity, kCapacityMax);
    Announce(holder.index);
    for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
      const uint64_t claimed = Claim(capacity, holder);
      if (claimed == 0) return false;
      if (kParticipants == 1 || claimed + HeldByOthers(holder.index) <= capacity) return true;
      Release(holder);
    }
    return false;
  }

  /// False, and no change, when the holder has none.
  bool Release(Holder holder = {}) noexcept {
    Word& word = held_[holder.index];
    uint64_t seen = word.load();
    while (CountFor(seen, holder) > 0) {
      if (word.compare_exchange_weak(seen, seen - 1)) return true;
    }
    return false;
  }

  /// Gives back all that a dead holder had; returns how many those were.
  uint64_t Forfeit(Holder holder) noexcept {
    Word& word = held_[holder.index];
    uint64_t seen = word.load();
    while (CountFor(seen, holder) > 0) {
      if (word.compare_exchange_weak(seen, WordOf(holder, 0))) return CountFor(seen, holder);
    }
    return 0;
  }

  /// Does the same for every holder that `is_gone(holder)` says is, and for those that seem to have
  /// more than the capacity, which is damage.
  template <class IsGone>
  Forfeited ForfeitGone(uint64_t capacity, const IsGone& is_gone) noexcept {
    Forfeited forfeited;
    const size_t participants = std::min<uint64_t>(participants_.load(), kParticipants);
    for (uint32_t i = 0; i < participants; ++i) {
      const uint64_t word = held_[i].load();
      const uint64_t count = word & kCapacityMax;
      if (count == 0) continue;
      const Holder holder{i, static_cast<uint32_t>(word >> kCountBits)};
      const bool damaged = count > capacity;
      if (!damaged && !is_gone(holder)) continue;
      if (Forfeit(holder) == 0) continue;
      ++forfeited.words;
      if (damaged) ++forfeited.damaged_words;
    }
    return forfeited;
  }

  /// Repairs the holder's word if it was damaged; returns whether it was. `count` is what it holds.
  bool Correct(Holder holder, uint64_t count) noexcept {
    if (HeldBy(holder) == count) return false;
    held_[holder.index].store(WordOf(holder, count));
    return true;
  }

  /// Gives the holder `count` permits here, which it acquired in memory that was given up since.
  void Adopt(Holder holder, uint64_t count) noexcept {
    Announce(holder.index);
    held_[holder.index].store(WordOf(holder, count));
  }

  uint64_t HeldBy(Holder holder) const noexcept {
    return CountFor(held_[holder.index].load(), holder);
  }

  /// Claims under way count as in use, so for a moment this may be above the capacity.
  uint64_t InUse() const noexcept { return HeldByOthers(kParticipants); }

  /// Whether the words can have come about by use. If not, the owner should zero them.
  bool Plausible(uint64_t capacity) const noexcept {
    const uint64_t participants = participants_.load();
    if (participants > kParticipants) return false;
    for (size_t i = 0; i < kParticipants; ++i) {
      const uint64_t word = held_[i].load();
      if (i >= participants ? word != 0 : (word & kCapacityMax) > capacity) return false;
    }
    return true;
  }

 private:
  static constexpr int kCountBits = 53;  // The incarnation is above them.

  static uint64_t WordOf(Holder holder, uint64_t count) noexcept {
    return (uint64_t{holder.incarnation} << kCountBits) | count;
  }

  static uint64_t CountFor(uint64_t word, Holder holder) noexcept {
    return ((word ^ WordOf(holder, 0)) >> kCountBits) == 0 ? word & kCapacityMax : 0;
  }

  /// Adds one to the holder's word unless the bulkhead looks full; returns the word's new count,
  /// or 0.
  uint64_t Claim(uint64_t capacity, Holder holder) noexcept {
    Word& word = held_[holder.index];
    uint64_t seen = word.load();
    for (;;) {
      const uint64_t count = CountFor(seen, holder);
      if (count + HeldByOthers(holder.index) >= capacity) return 0;
      if (word.compare_exchange_weak(seen, WordOf(holder, count + 1))) return count + 1;
    }
  }

  /// The sum of all words but one; at most 1024 * 2^53.
  uint64_t HeldByOthers(size_t index) const noexcept {
    if (kParticipants == 1 && index == 0) return 0;
    const size_t participants = std::min<uint64_t>(participants_.load(), kParticipants);
    uint64_t sum = 0;
    for (size_t i = 0; i < participants; ++i) {
      if (i != index) sum += held_[i].load() & kCapacityMax;
    }
    return sum;
  }

  /// Before its first claim a participant raises the number of words that the others look at.
  void Announce(uint32_t index) noexcept {
    uint64_t seen = participants_.load();
    while (seen <= index && !participants_.compare_exchange_weak(seen, index + uint64_t{1})) {
    }
  }

  Word participants_;
  Word held_[kParticipants];
};

static_assert(sizeof(Bulkhead<1>) == 2 * 8 && sizeof(Bulkhead<1024>) == 1025 * 8);
static_assert(std::is_standard_layout_v<Bulkhead<2>>);
static_assert(std::is_trivially_destructible_v<Bulkhead<2>>);

/// `limit` tokens per `interval`, and at most `burst` of them saved up. Time is counted in ticks of
/// a fraction of a microsecond, chosen so that a token costs a whole number of them: at the end of
/// the interval exactly `limit` tokens have arrived. Above 1024 different ticks per microsecond
/// the cost is rounded down, an error of at most one part in 1024 at a token per microsecond and
/// less below.
class TokenRate {
 public:
  static constexpr uint64_t kLimitMax = 1'000'000'000;
  static constexpr Micros kIntervalMax = Micros{1} << 41;  // 25 days

  /// Arguments beyond the limits above count as those; limit or burst 0 never gives a token. A
  /// burst that takes more than 71 years to arrive may be cut to what arrives in 71 years.
  static TokenRate Make(uint64_t limit, Micros interval, uint64_t burst) noexcept;

  uint64_t burst() const noexcept { return tolerance_ / cost_; }

 private:
  friend class TokenBucket;

  uint64_t ticks_per_micro_ = 1;
  uint64_t cost_ = 1;       // of a token, in ticks
  uint64_t tolerance_ = 0;  // the cost of a full bucket
};

/// Rate limit in one word (the generic cell rate algorithm): the tick at which the bucket will be
/// full again. Taking a token moves it ahead by the token's cost; it may not get further ahead of
/// now than a full bucket costs.
///
/// A clock that goes backwards by less than kBackwardsMax is waited out, since a process that was
/// stopped between reading the clock and arriving here must not refill the bucket with its old
/// time. Beyond that, the word is taken for damaged or from another clock: the bucket is empty.
class TokenBucket {
 public:
  static constexpr Micros kBackwardsMax = 60'000'000;

  /// Takes n tokens and returns 0, or takes none and returns how long until there will be n
  /// (kNever when n is more than burst).
  Micros TryTake(const TokenRate& rate, Micros now, uint64_t n = 1) noexcept;

  /// How long until n tokens will have arrived; n may be above burst, for those who queue.
  Micros Wait(const TokenRate& rate, Micros now, uint64_t n) const noexcept;

  double Available(const TokenRate& rate, Micros now) const noexcept;

 private:
  Cell full_at_;
};

static_assert(sizeof(TokenBucket) == 8 && std::is_standard_layout_v<TokenBucket>);
static_assert(std::is_trivially_destructible_v<TokenBucket>);

/// Limits of a RetryBudget. Earned tokens are counted in billionths.
class RetryRate {
 public:
  static constexpr double kTokensMax = 1e9;

  /// `ratio` of a token per deposit, at most `max` of them saved; besides, `reserve_per_second`
  /// tokens that arrive by themselves (fractions are kept to a thousandth; one second's worth is
  /// saved, at least one token; at most a million per second). Arguments beyond 0 to kTokensMax
  /// count as those limits.
  static RetryRate Make(double ratio, double reserve_per_second, double max) noexcept;

 private:
  friend class RetryBudget;

  uint64_t deposit_ = 0;
  uint64_t max_ = 0;
  TokenRate reserve_;
};

/// A retry costs a token. The reserve is used first, since it comes again by itself.
class RetryBudget {
 public:
  void Deposit(const RetryRate& rate) noexcept;
  bool TryWithdraw(const RetryRate& rate, Micros now) noexcept;
  double Balance(const RetryRate& rate, Micros now) const noexcept;

 private:
  Cell earned_;
  TokenBucket reserve_;
};

static_assert(sizeof(RetryBudget) == 16 && std::is_standard_layout_v<RetryBudget>);
static_assert(std::is_trivially_destructible_v<RetryBudget>);

}  // namespace sekering

#endif  // SEKERING_CORE_PERMITS_H_
