// Every interleaving of a few participants of a bulkhead, access by access, deaths included.
//
// A participant's next step depends only on what its accesses have returned so far. So each keeps
// a log of those; to take a step, its program runs from the start with the logged answers, makes
// one real access, and is left (by longjmp) when it asks for the next.

#include <gtest/gtest.h>

#include <array>
#include <csetjmp>
#include <cstring>
#include <unordered_set>
#include <vector>

#include "core/permits.h"

namespace sekering {
namespace {

/// One step of one participant.
struct Step {
  explicit Step(std::vector<uint64_t>& answers) : log(answers) {}
  std::vector<uint64_t>& log;
  size_t next = 0;
  bool taken = false;
  std::jmp_buf leave{};
};
Step* stepper = nullptr;  // Without one, accesses go straight to the word.

class SteppedWord {
 public:
  uint64_t load() const noexcept {
    return Access([this] { return value_; });
  }

  bool compare_exchange_weak(uint64_t& expected, uint64_t desired) noexcept {
    const uint64_t wanted = expected;
    expected = Access([this, wanted, desired] {
      const uint64_t seen = value_;
      if (seen == wanted) value_ = desired;
      return seen;
    });
    return expected == wanted;
  }

 private:
  template <class Operation>
  static uint64_t Access(Operation operation) {
    if (stepper == nullptr) return operation();
    if (stepper->next == stepper->log.size()) {
      if (stepper->taken) std::longjmp(stepper->leave, 1);
      stepper->taken = true;
      stepper->log.push_back(operation());
    }
    return stepper->log[stepper->next++];
  }

  uint64_t value_ = 0;
};

/// One attempt: the next one is the same again, from a state that is reached without it too.
using Stepped = Bulkhead<3, SteppedWord, 1>;

enum class Role : uint8_t {
  kCaller,     // acquires, and releases what it got
  kReaper,     // once `after` is dead, forfeits what its holder had
  kSuccessor,  // once `after` is dead, a caller in its place
};

struct Actor {
  Role role;
  Holder holder;
  int after = -1;
  bool mortal = false;
  std::vector<uint64_t> log{};
  bool holding = false;
  bool ended = false;
  bool dead = false;
};

struct World {
  uint64_t capacity;
  std::vector<Actor> actors;
  Stepped bulkhead{};
};

/// The program of a participant, from its start.
void Run(Stepped& bulkhead, Actor& self, uint64_t capacity) {
  self.holding = false;
  if (self.role == Role::kReaper) {
    bulkhead.Forfeit(self.holder);
    return;
  }
  if (!bulkhead.TryAcquire(capacity, self.holder)) return;
  self.holding = true;
  // The permit is in use until the swap that gives it back; what is held on the way there counts.
  bulkhead.Release(self.holder);
  self.holding = false;
}

void TakeStep(World& world, Actor& self) {
  Step taking(self.log);
  stepper = &taking;
  if (setjmp(taking.leave) == 0) {
    Run(world.bulkhead, self, world.capacity);
    self.ended = true;
  }
  stepper = nullptr;
}

class Explorer {
 public:
  void Explore(const World& world) {
    if (!seen_.insert(Hash(world)).second || ::testing::Test::HasFailure()) return;
    Check(world);
    bool ended = true;
    for (size_t i = 0; i < world.actors.size(); ++i) {
      const Actor& one = world.actors[i];
      const bool waits = one.after >= 0 && !world.actors[one.after].dead;
      if (one.ended || one.dead || waits) continue;
      ended = false;
      World next = world;
      TakeStep(next, next.actors[i]);
      Explore(next);
      if (!one.mortal) continue;
      World without = world;
      without.actors[i].dead = true;
      without.actors[i].holding = false;
      Explore(without);
    }
    if (ended) {
      EXPECT_EQ(world.bulkhead.InUse(), 0u) << "permits have leaked";
    }
  }

  size_t states() const { return seen_.size(); }

 private:
  static void Check(const World& world) {
    uint64_t holding = 0;
    for (const Actor& one : world.actors) holding += one.holding;
    EXPECT_LE(holding, world.capacity) << "too many permits";
  }

  static uint64_t Hash(const World& world) {
    uint64_t hash = 0;
    const auto mix = [&hash](uint64_t value) {
      hash = (hash ^ value) * 0x9E3779B97F4A7C15u;
      hash ^= hash >> 29;
    };
    std::array<uint64_t, sizeof(Stepped) / 8> words;
    std::memcpy(words.data(), static_cast<const void*>(&world.bulkhead), sizeof(Stepped));
    for (const uint64_t word : words) mix(word);
    for (const Actor& one : world.actors) {
      mix(one.log.size() * 4 + one.ended * 2 + one.dead);
      for (const uint64_t answer : one.log) mix(answer);
    }
    return hash;
  }

  std::unordered_set<uint64_t> seen_;
};

/// `known`: every place has been used before, which leaves out how they make themselves known.
void ExploreAll(uint64_t capacity, std::vector<Actor> actors, bool known = false) {
  World world{capacity, std::move(actors)};
  if (known) {
    ASSERT_TRUE(world.bulkhead.TryAcquire(1, {2, 0}));
    ASSERT_TRUE(world.bulkhead.Release({2, 0}));
  }
  Explorer explorer;
  explorer.Explore(world);
  EXPECT_GT(explorer.states(), 100u);
}

TEST(BulkheadInterleavings, TwoRaceForOnePermitAndOneDies) {
  ExploreAll(
      1, {{Role::kCaller, {0, 0}, -1, true}, {Role::kCaller, {1, 0}}, {Role::kReaper, {0, 0}, 0}});
}

TEST(BulkheadInterleavings, ThreeRaceForTwoPermitsAndOneDies) {
  ExploreAll(2,
             {{Role::kCaller, {0, 0}, -1, true},
              {Role::kCaller, {1, 0}},
              {Role::kCaller, {2, 0}},
              {Role::kReaper, {0, 0}, 0}},
             true);
}

TEST(BulkheadInterleavings, TwoThreadsOfOneHolderAndAnother) {
  for (const uint64_t capacity : {1, 2}) {
    ExploreAll(capacity,
               {{Role::kCaller, {0, 0}}, {Role::kCaller, {0, 0}}, {Role::kCaller, {1, 0}}}, true);
  }
}

TEST(BulkheadInterleavings, ADeadHoldersPlaceIsUsedAgainWhileItIsReaped) {
  ExploreAll(1, {{Role::kCaller, {0, 0}, -1, true},
                 {Role::kReaper, {0, 0}, 0},
                 {Role::kReaper, {0, 0}, 0},
                 {Role::kSuccessor, {0, 1}, 0},
                 {Role::kCaller, {1, 0}}});
}

}  // namespace
}  // namespace sekering
