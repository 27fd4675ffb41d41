// What an environment records in its ring is what its breakers have counted afterwards, in whatever
// order, and whatever is made, destroyed and read in between.

#include <map>

#include "core/breakers.h"
#include "fuzz/input.h"

namespace sekering {
namespace {

constexpr size_t kRingWords = 64;

class Program {
 public:
  explicit Program(FuzzedDataProvider& input)
      : input_(input), periods_(Breakers::kPeriodsPerChunk) {
    breakers_.AttachRing(&head_, ring_);
    breakers_.AddPeriods(periods_.data());
  }

  void Run() {
    for (int step = 0; step < 500 && input_.remaining_bytes() > 0; ++step) Step();
    for (const auto& [id, counts] : counted_) Compare(id, counts);
  }

 private:
  using Counts = std::array<uint64_t, kCounters>;

  void Step() {
    switch (input_.ConsumeIntegralInRange(0, 9)) {
      case 0:
        return Create();
      case 1:
        if (!counted_.empty()) {
          const uint32_t id = AnyId();
          PROMISE(breakers_.Destroy(id, kNow));
          counted_.erase(id);
        }
        return;
      case 2:
        if (!counted_.empty()) {
          const uint32_t id = AnyId();
          Compare(id, counted_[id]);
        }
        return;
      case 3:
        // No breaker has that number.
        PROMISE(breakers_.Find(UINT32_MAX - input_.ConsumeIntegral<uint8_t>(), kNow) == nullptr);
        return;
      default:
        return Record();
    }
  }

  void Create() {
    const auto config = AnyConfig(input_, false);
    if (!config || config->buckets > 20) return;
    const bool shares = !counted_.empty() && input_.ConsumeIntegralInRange(0, 3) == 0;
    // A breaker that counts in the window of another has no counts of its own to compare.
    const Created made =
        shares ? breakers_.CreateIn(AnyId(), *config, kNow) : breakers_.Create(*config, kNow);
    if (made.error != CreateError::kNone) return;
    if (shares) {
      PROMISE(breakers_.Destroy(made.id, kNow));
    } else {
      PROMISE(counted_.emplace(made.id, Counts{}).second);
    }
  }

  /// Drains a full ring, like JavaScript.
  void Record() {
    if (counted_.empty()) return;
    if (head_ + 2 > static_cast<int32_t>(kRingWords)) breakers_.Drain(kNow);
    const uint32_t id = AnyId();
    const uint32_t counter = input_.ConsumeIntegralInRange<uint32_t>(0, kCounters - 1);
    ring_[static_cast<size_t>(head_++)] = id << Breakers::kCounterBits | counter;
    if (counter == static_cast<uint32_t>(Counter::kSuccesses)) {
      ring_[static_cast<size_t>(head_++)] = input_.ConsumeIntegral<uint32_t>();
    }
    ++counted_[id][counter];
  }

  void Compare(uint32_t id, const Counts& counts) {
    BreakerHandle* const handle = breakers_.Find(id, kNow);
    PROMISE(handle != nullptr);
    WindowStats stats;
    handle->ReadWindow(BreakerHandle::Whose::kAll, kNow, &stats);
    for (uint32_t counter = 0; counter < kCounters; ++counter) {
      // The core itself counts these, by the latencies of successes.
      if (counter == static_cast<uint32_t>(Counter::kSlowCalls) ||
          counter == static_cast<uint32_t>(Counter::kLatencies)) {
        continue;
      }
      PROMISE(stats.counts[counter] == counts[counter]);
    }
  }

  uint32_t AnyId() {
    auto found = counted_.begin();
    const size_t last = std::min<size_t>(counted_.size() - 1, 255);
    std::advance(found, input_.ConsumeIntegralInRange<size_t>(0, last));
    return found->first;
  }

  static constexpr Micros kNow = Micros{1} << 40;

  FuzzedDataProvider& input_;
  Breakers breakers_;
  std::vector<uint32_t> periods_;
  std::array<uint32_t, kRingWords> ring_{};
  int32_t head_ = 0;
  std::map<uint32_t, Counts> counted_;
};

}  // namespace
}  // namespace sekering

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  sekering::Program(input).Run();
  return 0;
}
