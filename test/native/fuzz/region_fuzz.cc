// A region whose file may be overwritten: its header, the places of participants, the table,
// the records. Whoever opens it, attaches to a name or follows a record gets an error or memory of
// the region; and what is attached can be written.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "core/region.h"
#include "core/region_layout.h"
#include "fuzz/input.h"

namespace sekering {
namespace {

constexpr Micros kNow = Micros{1} << 40;
constexpr uint32_t kNames = 4;

/// The file as others see it.
class File {
 public:
  File() : path_("/dev/shm/sekering-fuzz-" + std::to_string(getpid())) { unlink(path_.c_str()); }
  ~File() {
    Unmap();
    unlink(path_.c_str());
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  const char* path() const { return path_.c_str(); }

  /// Maps what the path leads to now; null if that is not a complete region.
  std::byte* Map() {
    Unmap();
    const int fd = open(path(), O_RDWR | O_CLOEXEC);
    if (fd < 0) return nullptr;
    if (lseek(fd, 0, SEEK_END) >= static_cast<off_t>(kFileBytes)) {
      void* const memory =
          mmap(nullptr, kFileBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
      if (memory != MAP_FAILED) base_ = static_cast<std::byte*>(memory);
    }
    close(fd);
    return base_;
  }

 private:
  void Unmap() {
    if (base_ != nullptr) munmap(base_, kFileBytes);
    base_ = nullptr;
  }

  const std::string path_;
  std::byte* base_ = nullptr;
};

class Program {
 public:
  explicit Program(FuzzedDataProvider& input) : input_(input) {
    PROMISE(regions_[0].Open(file_.path()) == RegionError::kNone);
    is_open_[0] = true;
  }

  void Run() {
    for (int step = 0; step < 100 && input_.remaining_bytes() > 0; ++step) Step();
  }

 private:
  struct Use {
    RecordKey key;
    Attachment at;
  };

  void Step() {
    const uint32_t who = input_.ConsumeIntegralInRange<uint32_t>(0, 1);
    switch (input_.ConsumeIntegralInRange(0, 7)) {
      case 0:
      case 1:
      case 2:
        return Damage();
      case 3:
        if (!is_open_[1]) is_open_[1] = regions_[1].Open(file_.path()) == RegionError::kNone;
        return;
      case 4:
        if (is_open_[who]) Look(regions_[who]);
        return;
      case 5:
        if (is_open_[who]) Follow(who);
        return;
      default:
        if (is_open_[who]) Attach(who);
        return;
    }
  }

  void Attach(uint32_t who) {
    RecordKey key;
    key.kind = input_.ConsumeIntegralInRange<uint32_t>(1, 2);
    key.name = "name " + std::to_string(input_.ConsumeIntegralInRange<uint32_t>(1, kNames));
    key.hot_cells = input_.ConsumeIntegralInRange<size_t>(1, 200);
    key.cold_cells = input_.ConsumeIntegralInRange<size_t>(0, 1000);
    Keep(who, key, regions_[who].Attach(key));
  }

  void Follow(uint32_t who) {
    for (Use& use : uses_[who]) {
      if (use.at.IsInPlace()) continue;
      const Attachment now = regions_[who].Reattach(use.key, use.at);
      if (now.error != RegionError::kNone) continue;
      use.at = now;
      Touch(who, use);
    }
  }

  void Keep(uint32_t who, const RecordKey& key, const Attachment& at) {
    if (at.error != RegionError::kNone) return;
    if (uses_[who].size() < 50) uses_[who].push_back({key, at});
    Touch(who, {key, at});
  }

  /// Writes as a breaker would, but only cells that the description, once compared, would allow.
  void Touch(uint32_t who, const Use& use) {
    Region& region = regions_[who];
    PROMISE(use.at.hot != nullptr && use.at.description != nullptr);
    if (!use.at.created) return;
    const auto hot = use.key.hot_cells;
    const auto cold = use.key.cold_cells;
    if (region.Commit(use.at.hot, hot * sizeof(Cell))) {
      use.at.hot[0].fetch_add(1);
      use.at.hot[hot - 1].fetch_add(1);
    }
    if (cold > 0 && region.Commit(use.at.cold, cold * sizeof(Cell))) {
      use.at.cold[0].fetch_add(1);
      use.at.cold[cold - 1].fetch_add(1);
    }
  }

  static void Look(Region& region) {
    for (const RecordView& record : region.Records()) PROMISE(record.hot != nullptr);
    region.LiveParticipants();
    for (uint32_t i = 0; i < kParticipantsMax; ++i) region.IsAlive(Participant(i));
    region.Announce(0, false);
    region.TakeNews();
  }

  void Damage() {
    std::byte* const base = file_.Map();
    if (base == nullptr) return;
    auto* const header = reinterpret_cast<RegionHeader*>(base);
    const auto at = input_.ConsumeIntegral<uint16_t>();
    switch (input_.ConsumeIntegralInRange(0, 6)) {
      case 0:
        header->magic.store(AnyWord(input_, kNow));
        return;
      case 1: {
        Used used{input_.ConsumeIntegral<uint32_t>(), input_.ConsumeIntegral<uint32_t>(), at};
        header->used.store(input_.ConsumeBool() ? used.Word() : AnyWord(input_, kNow));
        return;
      }
      case 2:
        header->participants[at % kParticipantsMax].store(AnyWord(input_, kNow));
        return;
      case 3: {
        // Bells, whether they have rung, and counters of news lie beside each other.
        Cell* const words = header->bells;
        words[at % (2 * kParticipantsMax + 1 + kNewsGroups)].store(AnyWord(input_, kNow));
        return;
      }
      case 4: {
        const uint32_t slot = at % kTableSize;
        const auto offset = input_.ConsumeIntegral<uint32_t>();
        header->table[slot].store(input_.ConsumeBool() ? SlotWord(slot, offset)
                                                       : AnyWord(input_, kNow));
        return;
      }
      case 5:
        return DamageUsedSlot(*header);
      default: {
        // The first records.
        const size_t cell = kHotAt / sizeof(Cell) + at % 4096;
        reinterpret_cast<Cell*>(base)[cell].store(AnyWord(input_, kNow));
      }
    }
  }

  /// A word of the table that leads somewhere: a random one is seldom followed.
  void DamageUsedSlot(RegionHeader& header) {
    for (const std::vector<Use>& uses : uses_) {
      if (uses.empty()) continue;
      const Use& use = uses[input_.ConsumeIntegralInRange<size_t>(0, uses.size() - 1)];
      const auto offset = input_.ConsumeIntegral<uint32_t>();
      const bool sealed = input_.ConsumeBool();
      header.table[use.at.slot].store(sealed ? SlotWord(use.at.slot, offset)
                                             : AnyWord(input_, kNow));
    }
  }

  FuzzedDataProvider& input_;
  File file_;
  Region regions_[2];
  bool is_open_[2] = {false, false};
  std::vector<Use> uses_[2];
};

}  // namespace
}  // namespace sekering

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  sekering::Program(input).Run();
  return 0;
}
