// A breaker whose memory may be overwritten at any time: the words of its state, its window, its
// leases. It must stay usable: every call is answered, an open circuit does not stay open for
// longer than its rules allow, and once nobody damages it, it closes and admits calls.

#include <algorithm>

#include "core/breaker.h"
#include "fuzz/input.h"
#include "support/cells.h"

namespace sekering {
namespace {

// What a stamp can hold: 8.9 years.
constexpr Micros kStart = Micros{1} << 40;
constexpr Micros kEnd = Micros{1} << 47;

class Program {
 public:
  Program(FuzzedDataProvider& input, const BreakerConfig& config)
      : input_(input),
        config_(config),
        hot_cells_(Breaker::HotCells(config)),
        cold_cells_(Breaker::ColdCells(config)),
        hot_(hot_cells_),
        cold_(cold_cells_),
        breaker_(config, hot_.data(), cold_.data()) {
    breaker_.Initialize(now_);
  }

  void Run() {
    for (int step = 0; step < 300 && input_.remaining_bytes() > 0; ++step) Step();
    Recover();
  }

 private:
  void Step() {
    switch (input_.ConsumeIntegralInRange(0, 11)) {
      case 0:
        return Damage();
      case 1:
        now_ = std::min(now_ + input_.ConsumeIntegral<uint32_t>(), kEnd);
        return;
      case 2:
        breaker_.Poll(now_);
        return;
      case 3:
        breaker_.Open(now_);
        return;
      case 4:
        breaker_.Close(now_);
        return;
      case 5:
        breaker_.HalfOpen();
        return;
      case 6:
        breaker_.Rotate();
        return;
      case 7:
        breaker_.Forget();
        return;
      case 8:
        return Look();
      default:
        return Call();
    }
  }

  void Damage() {
    Cells& cells = input_.ConsumeBool() || cold_cells_ == 0 ? hot_ : cold_;
    const size_t count = &cells == &hot_ ? hot_cells_ : cold_cells_;
    const auto at = input_.ConsumeIntegralInRange<size_t>(0, count - 1);
    cells.data()[at].store(AnyWord(input_, now_));
  }

  void Call() {
    const Epoch epoch = breaker_.EpochAt(now_);
    breaker_.Add(Counter::kFires, epoch, Count(1));
    const Admission call = breaker_.Admit(now_, input_.ConsumeFloatingPointInRange(0.0, 0.999));
    if (!call.admitted) return;
    if (input_.ConsumeBool()) now_ = std::min(now_ + input_.ConsumeIntegral<uint16_t>(), kEnd);
    if (input_.ConsumeIntegralInRange(0, 7) == 0) return breaker_.Abandon(call.period, call.probe);
    Outcome outcome;
    outcome.failed = input_.ConsumeBool();
    outcome.timed_out = outcome.failed && input_.ConsumeBool();
    outcome.latency = input_.ConsumeIntegral<int32_t>();
    outcome.period = call.period;
    outcome.probe = call.probe;
    outcome.process = Process(input_.ConsumeIntegralInRange<uint32_t>(1, UINT32_MAX));
    if (breaker_.Record(outcome, now_)) {
      breaker_.Trip(outcome.period, input_.ConsumeIntegral<uint32_t>(), now_);
    }
  }

  void Look() const {
    const Epoch epoch = breaker_.EpochAt(now_);
    std::array<LatencyCount, kLatencyCells> latencies;
    const size_t count = breaker_.window().Latencies(epoch, latencies);
    PROMISE(count <= latencies.size());
    for (uint32_t age = 0; age < kHistoryMax; ++age) {
      PROMISE(static_cast<uint32_t>(breaker_.StateBefore(age)) <= 3);
    }
    breaker_.HasFreeProbe(now_);
    breaker_.Warming(now_);
  }

  /// Polls the breaker and calls through it, like every user.
  void Recover() {
    const Micros longest = std::max({config_.reset_max, config_.reset_initial, kResetMinMax});
    const Micros wait = breaker_.OpenFor(now_);
    PROMISE(wait >= 0 && wait <= Later(longest, 1));
    if (longest > kEnd || config_.probe_lease > kEnd || config_.ramp_up > kEnd) return;
    now_ += longest + config_.probe_lease + 1;
    breaker_.Poll(now_);
    for (uint32_t i = 0; i <= config_.success_threshold && i < 1000; ++i) Succeed();
    now_ += config_.ramp_up + 1;
    // Damaged counts may last as long as the window.
    if (config_.success_threshold < 1000) PROMISE(Succeed());
  }

  bool Succeed() {
    const Admission call = breaker_.Admit(now_, 0);
    if (!call.admitted) return false;
    breaker_.Record({false, false, 0, call.period, call.probe}, now_);
    return true;
  }

  FuzzedDataProvider& input_;
  const BreakerConfig config_;
  const size_t hot_cells_;
  const size_t cold_cells_;
  Cells hot_;
  Cells cold_;
  Breaker breaker_;
  Micros now_ = kStart;
};

}  // namespace
}  // namespace sekering

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  const auto config = sekering::AnyConfig(input, input.ConsumeBool());
  if (config) sekering::Program(input, *config).Run();
  return 0;
}
