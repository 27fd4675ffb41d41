// Every interleaving of participants that announce news and one that sleeps until its bell rings,
// deaths included: it learns of all that was announced to the end.
//
// Faults that were put into the protocol to see them caught here: the bell noted as rung before it
// rings, a silence that is noted before what made the bell ring is taken, a store in place of the
// swap, a silence that does not raise the number.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "core/news.h"
#include "support/explorer.h"

namespace sekering {
namespace {

/// What the sleeper knows of the news, or that a participant has announced.
struct Knowledge {
  uint64_t news = 0;
  uint64_t Hash(uint64_t hash) const { return Mix(hash, news); }
};

class Announcements {
 public:
  using Local = Knowledge;
  struct Ghost {
    uint64_t announced = 0;
  };

  /// Participant 0 sleeps; each other one announces so often, and may die at any access.
  explicit Announcements(std::vector<uint32_t> announces)
      : announces_(std::move(announces)), runners_(announces_.size() + 1) {
    FallSilent(rung(), kPlace);
  }

  void Explore() {
    Explorer<Announcements> explorer(*this, runners_);
    explorer.Explore();
    if (failed()) ADD_FAILURE() << "by this way:\n" << explorer.story();
    EXPECT_GT(explorer.states(), 20u);
    EXPECT_TRUE(has_spared_) << "each announcement rang";
  }

  uint64_t* words() { return reinterpret_cast<uint64_t*>(words_.data()); }
  size_t count() const { return words_.size(); }
  bool failed() const { return ::testing::Test::HasFailure(); }
  bool Mortal(size_t i) const { return i > 0; }
  bool Ended(size_t i, const Runner<Knowledge>& runner) const {
    return i > 0 && runner.at == announces_[i - 1];
  }
  /// The sleeper looks after each silence, and sleeps while nothing rings.
  bool Waits(size_t i) const {
    const Runner<Knowledge>& runner = runners_[i];
    const bool sleeps = i == 0 && runner.at % 2 == 0 && runner.answers.empty();
    return sleeps && *reinterpret_cast<const uint64_t*>(&words_[kBell]) == 0;
  }

  void Perform(size_t i, uint32_t at, Knowledge& self) {
    if (i > 0) {
      const uint64_t number = words_[kNews].fetch_add(1) + 1;
      RingOnce(rung(), kPlace, [this] {
        words_[kBell].fetch_add(1);
        return true;
      });
      self.news = number;
    } else if (at % 2 == 0) {
      words_[kBell].store(0);
      FallSilent(rung(), kPlace);
    } else {
      self.news = words_[kNews].load();
    }
  }

  Ghost Stepped(size_t i, const Step&, bool finished) {
    const Ghost before{announced_};
    if (i > 0 && finished) announced_ = std::max(announced_, runners_[i].local.news);
    return before;
  }
  void Unstep(size_t, Ghost ghost) { announced_ = ghost.announced; }

  void Check() {}
  void CheckEnd() {
    EXPECT_GE(runners_[0].local.news, announced_) << "sleeps, and was not told";
    has_spared_ |= announced_ > runners_[0].at / 2;
  }

 private:
  static constexpr size_t kBell = 0;
  static constexpr size_t kNews = 2;
  static constexpr uint32_t kPlace = 7;

  SteppedCell& rung() { return words_[1]; }

  std::vector<uint32_t> announces_;
  std::vector<Runner<Knowledge>> runners_;
  std::array<SteppedCell, 3> words_{};
  /// The newest news whose participant has done all that it does about it.
  uint64_t announced_ = 0;
  bool has_spared_ = false;
};

TEST(ModelNews, OfOneReachWhoSleeps) {
  Announcements({4}).Explore();
}

TEST(ModelNews, OfTwoReachWhoSleeps) {
  Announcements({2, 2}).Explore();
}

TEST(ModelNews, OfThreeReachWhoSleeps) {
  Announcements({1, 1, 1}).Explore();
}

}  // namespace
}  // namespace sekering
