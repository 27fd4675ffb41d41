// Shared memory of one process, whose participants live and die as the test says.

#ifndef SEKERING_TEST_SUPPORT_FAKE_MEMORY_H_
#define SEKERING_TEST_SUPPORT_FAKE_MEMORY_H_

#include <memory>
#include <set>
#include <string>
#include <utility>

#include "core/participants.h"
#include "support/cells.h"

namespace sekering {

/// All that take part.
struct FakeHost {
  std::set<uint32_t> dead;
};

class FakeParticipants final : public Participants {
 public:
  FakeParticipants(FakeHost& host, uint32_t self) : host_(host), self_(self) {}
  Participant self() const noexcept override { return Participant(self_); }
  uint32_t incarnation() const noexcept override { return 1; }
  Process process() const noexcept override { return Process(100 + self_); }
  bool IsAlive(Participant participant) const noexcept override {
    return host_.dead.count(participant.value()) == 0;
  }
  uint32_t IncarnationOf(Participant) const noexcept override { return 1; }

 private:
  FakeHost& host_;
  uint32_t self_;
};

/// One participant's use of cells that several use.
class FakeMemory final : public SharedMemory {
 public:
  FakeMemory(FakeHost& host, uint32_t self, Cells& hot, Cells& cold, std::string name = "name")
      : participants_(host, self), hot_(&hot), cold_(&cold), name_(std::move(name)) {}

  bool Follow() noexcept override { return std::exchange(has_moved_, false); }
  Cell* hot() const noexcept override { return hot_->data(); }
  Cell* cold() const noexcept override { return cold_->data(); }
  const Participants& participants() const noexcept override { return participants_; }
  std::string_view name() const noexcept override { return name_; }
  void Announce() noexcept override { ++announcements; }
  void Leave() noexcept override { ++left; }
  bool Commit(const void*, size_t) noexcept override { return true; }

  void MoveTo(Cells& hot, Cells& cold) {
    hot_ = &hot;
    cold_ = &cold;
    has_moved_ = true;
  }

  int announcements = 0;
  int left = 0;

 private:
  FakeParticipants participants_;
  Cells* hot_;
  Cells* cold_;
  std::string name_;
  bool has_moved_ = false;
};

}  // namespace sekering

#endif  // SEKERING_TEST_SUPPORT_FAKE_MEMORY_H_
