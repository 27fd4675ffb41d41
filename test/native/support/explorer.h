// Every interleaving of a few participants, access by access, over the code that ships.
//
// Compiled into the core in the place of std::atomic (core/cell.h), SteppedCell lets one access
// pass at a time. A participant's next access depends only on what its accesses have returned so
// far. So each keeps a log of those; to take a step, its present operation runs from its start with
// the logged answers, makes one real access, and is left (by longjmp) when it asks for the next.
// One access changes one word, so a step is undone by putting that word back, and the explorer
// walks depth first through all orders. States that it has met before, told by the words of memory
// and what each participant knows, are not walked through again.
//
// Accesses that are sequentially consistent happen in one order on every processor, so those orders
// are all there is to them. A relaxed load is weaker: it may return any value that the word has had
// since the last one that the participant knows of, by its own accesses or by what it acquired from
// others (support/past.h). The explorer lets it return each of those.

#ifndef SEKERING_TEST_SUPPORT_EXPLORER_H_
#define SEKERING_TEST_SUPPORT_EXPLORER_H_

#include <gtest/gtest.h>

#include <atomic>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "support/past.h"

namespace sekering {

/// The step that is being taken: replays an operation's answers, and makes one access more.
struct Step {
  const uint64_t* answers = nullptr;
  size_t count = 0;
  size_t next = 0;
  bool taken = false;
  uint64_t answer = 0;
  uint64_t* word = nullptr;
  uint64_t before = 0;
  Access access = Access::kLoad;
  /// How many values back a relaxed load looks, and how many it could see.
  size_t back = 0;
  size_t values = 1;
  size_t runner = 0;
  Past* past = nullptr;
  std::jmp_buf leave{};
  /// Without one, accesses go straight to the word.
  static inline Step* present = nullptr;
};

/// A word with the interface of std::atomic, as far as the core uses it.
class SteppedCell {
 public:
  static constexpr bool is_always_lock_free = true;
  using Order = std::memory_order;

  SteppedCell() = default;
  explicit SteppedCell(uint64_t value) : value_(value) {}
  SteppedCell(const SteppedCell&) = delete;
  SteppedCell& operator=(const SteppedCell&) = delete;

  uint64_t load(Order order = Order::seq_cst) const noexcept {
    const bool relaxed = order == Order::relaxed;
    return Make(relaxed ? Access::kRelaxedLoad : Access::kLoad,
                [](uint64_t value) { return value; });
  }
  void store(uint64_t desired, Order order = Order::seq_cst) noexcept {
    if (order != Order::seq_cst && Step::present != nullptr) {
      ADD_FAILURE() << "The explorer knows no weak stores";
    }
    Make(Access::kStore, [desired](uint64_t) { return desired; });
  }
  uint64_t fetch_add(uint64_t added) noexcept {
    return Make(Access::kSwap, [added](uint64_t value) { return value + added; });
  }
  uint64_t fetch_or(uint64_t bits) noexcept {
    return Make(Access::kSwap, [bits](uint64_t value) { return value | bits; });
  }
  bool compare_exchange_strong(uint64_t& expected, uint64_t desired) noexcept {
    const uint64_t wanted = expected;
    expected = Make(Access::kSwap, [wanted, desired](uint64_t value) {
      return value == wanted ? desired : value;
    });
    return expected == wanted;
  }
  bool compare_exchange_weak(uint64_t& expected, uint64_t desired) noexcept {
    return compare_exchange_strong(expected, desired);
  }

 private:
  /// Puts next(value) into the word; returns what was there, unless that is not asked for.
  template <class Next>
  uint64_t Make(Access access, Next next) const noexcept {
    Step* const step = Step::present;
    if (step == nullptr) return std::exchange(value_, next(value_));
    if (step->next < step->count) return step->answers[step->next++];
    if (step->taken) std::longjmp(step->leave, 1);
    step->taken = true;
    step->access = access;
    step->word = &value_;
    step->before = value_;
    if (access == Access::kRelaxedLoad) {
      step->answer = step->past->Look(step->runner, step->word, step->back, step->values);
    } else {
      step->answer = access == Access::kStore ? 0 : value_;
    }
    value_ = next(value_);
    return step->answer;
  }

  mutable uint64_t value_ = 0;
};
static_assert(sizeof(SteppedCell) == sizeof(uint64_t));

using Cell = SteppedCell;

/// A set of hashes, in a table that doubles.
class HashSet {
 public:
  bool Insert(uint64_t hash) {
    if (hash == 0) hash = 1;
    if (2 * (size_ + 1) > places_.size()) Grow();
    if (!Put(hash)) return false;
    ++size_;
    return true;
  }
  size_t size() const { return size_; }

 private:
  bool Put(uint64_t hash) {
    const size_t mask = places_.size() - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
      if (places_[i] == hash) return false;
      if (places_[i] != 0) continue;
      places_[i] = hash;
      return true;
    }
  }
  void Grow() {
    std::vector<uint64_t> old(2 * places_.size());
    old.swap(places_);
    for (const uint64_t hash : old) {
      if (hash != 0) Put(hash);
    }
  }

  std::vector<uint64_t> places_ = std::vector<uint64_t>(1024);
  size_t size_ = 0;
};

/// What the explorer keeps of a participant besides what the model's `Local` says.
template <class Local>
struct Runner {
  Local local{};    // as the finished operations left it; without padding
  uint32_t at = 0;  // the present operation
  bool dead = false;
  std::vector<uint64_t> answers{};  // of the accesses of the present operation
  uint64_t known = 0;               // hash of those
};

/// Model:
///   using Local;                        what a participant knows between two operations
///   size_t size();                      how many participants
///   bool Ended(i, runner);              it has no operation left (ones without accesses skipped)
///   bool Waits(i);                      may not go on yet
///   bool Mortal(i);                     may die at any access
///   void Perform(i, at, Local&);        one operation, over SteppedCells
///   uint64_t* words(); size_t count();  all of the shared memory
///   void Stepped(i, Step&, finished);   after every step
///   void Check(); void CheckEnd();      in every state, and in those where nobody has a step left
///   bool failed();                      a check has failed: stop
inline constexpr uint32_t kAnyNumber = UINT32_MAX;

template <class Model>
class Explorer {
 public:
  using Local = typename Model::Local;

  explicit Explorer(Model& model, std::vector<Runner<Local>>& runners)
      : model_(model), runners_(runners), past_(model.words(), model.count(), runners.size()) {
    for (size_t i = 0; i < model.count(); ++i) memory_ ^= WordHash(i, model.words()[i]);
  }

  /// All orders in which a participant is interrupted at most `interruptions_max` times in favour
  /// of another, though it could go on.
  void Explore(uint32_t interruptions_max = kAnyNumber) {
    // Which words are read by relaxed loads is learnt on the way, and then all is walked again.
    do {
      seen_ = {};
      past_.Begin();
      Walk(kNobody, interruptions_max);
    } while (past_.has_learnt() && !model_.failed());
  }

  size_t states() const { return seen_.size(); }
  /// The way to the first state that failed a check.
  const std::string& story() const { return story_; }

 private:
  static constexpr size_t kNobody = SIZE_MAX;

  void Walk(size_t last, uint32_t left) {
    if (model_.failed()) {
      if (story_.empty()) Tell();
      return;
    }
    if (!seen_.Insert(left == kAnyNumber ? StateHash() : Mix(StateHash(), last << 32 | left))) {
      return;
    }
    model_.Check();
    bool ended = true;
    const bool last_can = last != kNobody && CanStep(last);
    for (size_t i = 0; i < runners_.size(); ++i) {
      if (!CanStep(i)) continue;
      ended = false;
      const bool interrupts = left != kAnyNumber && last_can && i != last;
      if (interrupts && left == 0) continue;
      TakeStep(i, interrupts ? left - 1 : left);
      if (!model_.Mortal(i) || model_.failed()) continue;
      runners_[i].dead = true;
      Walk(last, left);
      runners_[i].dead = false;
    }
    if (ended) model_.CheckEnd();
    if (model_.failed() && story_.empty()) Tell();
  }

  bool CanStep(size_t i) const {
    return !runners_[i].dead && !model_.Waits(i) && !model_.Ended(i, runners_[i]);
  }

  struct Event {
    size_t runner;
    uint32_t at;
    size_t word;
    uint64_t before;
    uint64_t after;
    size_t back;
  };

  static uint64_t WordHash(size_t index, uint64_t value) {
    return value == 0 ? 0 : Mix(Mix(1, index), value);
  }

  uint64_t StateHash() const {
    uint64_t hash = past_.Hash(memory_, [this](size_t i) { return !runners_[i].dead; });
    for (const Runner<Local>& runner : runners_) {
      if (runner.dead) {
        hash = Mix(hash, 1);
        continue;
      }
      hash = Mix(hash, uint64_t{runner.at} << 32 | runner.answers.size() << 1 | runner.dead);
      hash = Mix(hash, runner.known);
      hash = runner.local.Hash(hash);
    }
    return hash;
  }

  void TakeStep(size_t i, uint32_t left) {
    size_t values = 1;
    for (size_t back = 0; back < values && !model_.failed(); ++back)
      values = TakeStep(i, left, back);
  }

  /// Returns how many values the step could have seen.
  size_t TakeStep(size_t i, uint32_t left, size_t back) {
    Runner<Local>& runner = runners_[i];
    const Local local = runner.local;
    const uint64_t known = runner.known;
    const uint64_t memory = memory_;
    Step step;
    step.answers = runner.answers.data();
    step.count = runner.answers.size();
    step.runner = i;
    step.back = back;
    step.past = &past_;
    const bool finished = Make(step, i, runner);
    const auto word = static_cast<size_t>(step.word - model_.words());
    const Past::Undo undo = past_.Note(step.access, i, word, step.before, *step.word, back);
    memory_ ^= WordHash(word, step.before) ^ WordHash(word, *step.word);
    events_.push_back({i, runner.at, word, step.before, *step.word, back});
    std::vector<uint64_t> answers;
    if (finished) {
      answers.swap(runner.answers);
      runner.known = 0;
      ++runner.at;
    } else {
      runner.local = local;
      runner.answers.push_back(step.answer);
      runner.known = Mix(known, step.answer);
    }
    const auto ghost = model_.Stepped(i, step, finished);
    Walk(i, left);
    model_.Unstep(i, ghost);
    if (finished) {
      answers.swap(runner.answers);
      --runner.at;
    } else {
      runner.answers.pop_back();
    }
    events_.pop_back();
    past_.Take(undo, i, word);
    runner.local = local;
    runner.known = known;
    memory_ = memory;
    *step.word = step.before;
    return step.values;
  }

  /// Whether the operation came to its end.
  bool Make(Step& step, size_t i, Runner<Local>& runner) {
    volatile bool finished = false;
    Step::present = &step;
    if (setjmp(step.leave) == 0) {
      model_.Perform(i, runner.at, runner.local);
      finished = true;
    }
    Step::present = nullptr;
    return finished;
  }

  void Tell() {
    for (const Event& event : events_) {
      char line[128];
      std::snprintf(line, sizeof line, "  #%zu op %u: word %zu  %016llx -> %016llx", event.runner,
                    event.at, event.word, static_cast<unsigned long long>(event.before),
                    static_cast<unsigned long long>(event.after));
      story_ += line;
      if (event.back > 0)
        story_ += ", read as it was " + std::to_string(event.back) + " values ago";
      story_ += '\n';
    }
    for (size_t i = 0; i < runners_.size(); ++i) {
      if (runners_[i].dead) story_ += "  #" + std::to_string(i) + " is dead\n";
    }
  }

  Model& model_;
  std::vector<Runner<Local>>& runners_;
  Past past_;
  HashSet seen_;
  uint64_t memory_ = 0;
  std::vector<Event> events_;
  std::string story_;
};

}  // namespace sekering

#endif  // SEKERING_TEST_SUPPORT_EXPLORER_H_
